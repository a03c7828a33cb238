import subprocess
import sys
from importlib import import_module

from floss_sim.cli.app import Commands


def first_line_of_help(place):
    path, name = place.split(":")
    module = import_module(path)
    text = module.app.info.help if name == "app" else module.HELP
    return text.split("\n")[0]


def test_the_lines_of_help_are_those_of_the_commands():
    for name, (place, line) in Commands.places.items():
        assert line == first_line_of_help(place), name


def test_the_imports_of_a_command_are_left_out_of_collections():
    code = (
        "import gc\n"
        "from floss_sim.cli.app import app\n"
        "try:\n    app(['estimate', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(gc.get_freeze_count() > len(gc.get_objects()))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.endswith("True\n")


def test_help_imports_no_command():
    code = (
        "import sys\n"
        "from floss_sim.cli.app import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'numpy', 'pyarrow', 'pydantic'}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.endswith("[]\n")
    for name in Commands.places:
        assert f"  {name} " in ran.stdout
