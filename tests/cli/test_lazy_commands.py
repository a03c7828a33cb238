import subprocess
import sys
from importlib import import_module

from floss_sim.cli.app import Commands


def first_line_of_help(name, module):
    loaded = import_module(module)
    text = loaded.HELP if hasattr(loaded, "HELP") and not hasattr(loaded, "app") else None
    return (text or loaded.app.info.help).split("\n")[0]


def test_the_lines_of_help_are_those_of_the_commands():
    for name, (module, line) in Commands.modules.items():
        assert line == first_line_of_help(name, module), name


def test_help_imports_no_command():
    code = (
        "import sys\n"
        "from floss_sim.cli.app import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'numpy', 'pyarrow', 'pydantic'}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.endswith("[]\n")
    for name in Commands.modules:
        assert f"  {name} " in ran.stdout
