"""All texts of pages, in plain words; braces are filled in.

The first screen is for whoever decides: no term that only an engineer knows. ``WORDS`` goes into
the page, for its script.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# First screen of a plan
PLAN_TITLE = "{task} on {network}: what to train"
ANSWER_TRAIN = "Train {what} for {rounds}{other}: {sends}."
ADAPTER = "an adapter of rank {rank}"
TRAINED = {  # what a method without an adapter trains, by its layout
    "head": "the last layer alone",
    "bitfit": "the biases and the last layer",
    "full": "the whole model",
    "seeds": "the whole model along random directions",
}
SENDS_ALL = "each device receives all of it and sends all changes back"
SENDS = "each device receives {down} of it and sends {up} of its changes back"
ALL = "all"
OTHER = " ({other})"
ANSWER_GOOD = (
    "Expect {mean} % right answers on new {what} (nine chances in ten: {low} to {high} %)."
)
ANSWER_VALID = "Expect {mean} % right answers (nine chances in ten: {low} to {high} %)."
ANSWER_POINT = "Its last check had {mean} % right answers; how sure that is was not recorded."
ANSWER_COST = "It takes {time} on this network{spread} and moves {nbytes} in all{costs}."
SPREAD_WORDS = " (nine chances in ten: {low} to {high})"
COSTS_KNOWN = ", for {costs}"
COSTS_UNKNOWN = " Money and energy are not known: the network's file states neither."
MONEY_UNKNOWN = " Money is not known: the network's file states no prices."
ENERGY_UNKNOWN = " Energy is not known: the network's file states none."
ANSWER_BUDGET = "The budget is {budget}; {spent} % of it is used."
BUDGET_DENSE = (
    "the traffic of {count} rounds in which everything is sent, weighted by link speeds (sending "
    "less affords more rounds)"
)
ANSWER_REACHED = "It is the run that reaches {target} % for the least of the budget."
ANSWER_NOTHING = "No recommendation: nothing was learned."
CHEAPER = "Cheaper, {share} of the bytes"
ALTERNATIVES = "The recommendation and its alternatives"
ALTERNATIVE_COLUMNS = (
    "", "what", "right answers", "on new {what}", "time", "bytes", "money", "energy", "of budget",
)  # fmt: skip
RANK, WHAT = "rank {rank}, ", "{down} down, {up} up"
ROUNDS = "{what}, {rounds}"
ONE_ROUND, SOME_ROUNDS = "1 round", "{rounds} rounds"
RECOMMENDED, RUNNER_UP = "Recommended", "Next best"
BASELINES = {"dense": "Everything sent", "thesis_rule": "Rule of thumb"}
METHODS = "Ways of training that were compared"
METHOD_COLUMNS = ("", "tried", "best one", "right answers", "to the best", "bytes", "of budget")
TRIED = "{begun} of {affordable}"
POINTS = "{mean} points ({low} to {high})"
AS_GOOD = "{points}, a tie"
ENDED_RUN = "{what}, stopped early"
TABLE_NOTE = (
    "Rank: the size of the adapter that is trained; the model below it stays as it is. Down and "
    "up: how much of what is trained each device receives and sends in a round. Right "
    "answers: on examples that chose the recommendation, with the range of nine chances in ten; "
    "on new {what}: on examples that chose nothing. Rule of thumb: 1/4 down, and 1/4 up over "
    "the ratio of download to upload rate (Raje, 2024)."
)
NOT_THERE = "-"

# Warnings
WARN_CHANCE = (
    "Nothing was learned: the best run has {best} % right answers, which always guessing the most "
    "frequent answer has, too ({chance} %). Raise the task's learning rates or the budget."
)
WARN_CHANCE_OWN = (
    "Nothing was learned: the best run has {best} % right answers, which always guessing each "
    "client's most frequent answer has, too ({chance} %). Raise the task's learning rates or the "
    "budget."
)
WARN_CAP = "The cap of {cap} rounds ends the run, not the budget: {spent} % of it is used."
WARN_PRIVACY = (
    "Epsilon {epsilon} ends the run, not the budget: {spent} % of it is used. More noise, or a "
    "larger epsilon, allows more rounds."
)
WARN_EFFORT = "The search ended before this run did; more search may find a better one."
WARN_INTERRUPTED = "The search was interrupted: this is the best run so far."
WARN_TARGET = "No run reached {target} % within the budget: this is the best run of the search."
WARN_ALONE = (
    "The network states no round trip and no computing time: real rounds take longer than these."
)
WARN_SHARED = (
    "Devices share the server's capacity: behind a queue that serves first come, first served, the "
    "last of a crowd can take more than three times as long."
)
WARN_MISSING = "No figures for {name}: the budget affords no run of it."
NO_WARNING = "No warning: nothing that this page checks stands against the recommendation."

# Pictures
ACCURACY_CAPTION = (
    "Right answers (%) against the share of the budget that is spent. Bars are ranges of nine "
    "chances in ten{bands}."
)
BANDS = "; so are bands"
ACCURACY_SPOKEN = "Lines of right answers against the spent budget. {ends}"
ACCURACY_END = "{label}: {mean} % ({low} to {high} %) at {spent} % of the budget."
ACCURACY_POINT = "{label}: {mean} % at {spent} % of the budget."
SPENT_AXIS = "budget spent (%)"
RIGHT_AXIS = "right answers (%)"
IN_WORDS = "The picture in words"
NO_SCRIPT = "The pictures and the sliders need JavaScript; all tables are here without it."

# What if
WHAT_IF = "What if the network or the budget were another one?"
WHAT_IF_TEXT = (
    "Move a slider with the mouse, a finger or the arrow keys. Times follow by formula for all "
    "runs that were recorded; nothing is trained. The address of this page keeps the settings."
)
WHAT_IF_CAPTION = (
    "Right answers (%) of each recorded run at the end of the budget, against its time on "
    "the fleet of the network's seed."
)
WHAT_IF_SPOKEN = (
    "Points of right answers against time at these settings; the table has the figures."
)
WHAT_IF_TABLE = "At these settings, the best one first"
WHAT_IF_COLUMNS = ("", "right answers %", "range", "rounds", "time", "bytes", "of budget %")
CROSSOVERS = "Where the best one changes"
CROSSOVERS_TABLE = "Along each slider, the others staying as they are"
CROSSOVER_COLUMNS = ("slider", "the best one")
PARTS = "Where the seconds of a round go"
PARTS_CAPTION = "Mean seconds of the last device of a round, at these settings."
PARTS_SPOKEN = "Bars of a round's seconds: download, computing, upload and round trips."
CONFIRM = "Confirm it"
CONFIRM_TEXT = (
    "This command, in the folder of this page, simulates the same runs on the same network; the "
    "first one is the best one of the table."
)
COPY = "Copy the command"
NO_STORE = (
    "No sliders: the store lacks the runs of this plan. On a machine that has them, "
    "floss-plan report makes this page again with them."
)
NO_NETWORK = (
    "No sliders: the network of the plan cannot be loaded, or has changed since the plan was made."
)
NOT_SERVED = "{network} is not among the sliders: {why}. Ask {command}"
# Recorded runs
RUNS_TITLE = "{task}: recorded runs"
RUNS_BEST = (
    "Most right answers: {label}, {mean} %{spread} after {rounds} rounds, {time} on {network} and "
    "{nbytes} in all."
)
RUNS_SEEDS = " (mean of {seeds} runs, {low} to {high} %)"
RUNS_FASTEST = (
    "First with {target} %, which all reach: {label}, after {time} on {network} and {nbytes}."
)
RUNS_CAPTION = (
    "Right answers (%) against time, the median over fleets where the network draws them. Bands go "
    "from the lowest to the highest run."
)
RUNS_SPOKEN = "Lines of right answers against time."
RUNS_END = "{label}: {mean} %{spread} after {rounds} rounds, {time}, {nbytes}."
RUNS_TABLE = "The configurations, most right answers first"
RUNS_COLUMNS = (
    "", "network", "runs", "right answers %", "range", "rounds", "bytes", "time",
)  # fmt: skip
RUNS_OWN = "own"
RUNS_NOTE = (
    "At the last round that all runs of a configuration have checked. Time: the median, with the "
    "range of nine in ten fleets where the network draws them."
)
RUN_ORIGIN = "The best configuration's first run"
RUN_KEYS = ("task", "kind", "seed", "data", "backbone", "learner", "device", "threads")
NO_SLIDERS = "No sliders: no network of these runs is known for which times follow by formula."
OTHER_NETWORK = "In the folder of this page, {command} tells the times on another network."

# For engineers
CURVES = "All that was trained"
CURVES_CAPTION = (
    "Right answers (%) of every stored run of this plan, smoothed. The pointer on a line tells "
    "which run it is. Seconds are those of the fleet of the network's seed."
)
CURVES_SPOKEN = "{count} lines of right answers; the table of the search below has their ends."
AGAINST = "against "
ROUND_AXIS, BYTES_AXIS, MONEY_AXIS = "rounds", "MB in all", "money"
CURVE_AXES = ("rounds", "MB in all", "time (s)", "money")
FRONT = "What more right answers cost"
FRONT_TABLE = "The best measured run within each number of bytes"
FRONT_COLUMNS = ("what", "right answers %", "bytes", "time", "money")
FRONT_NOTE = (
    "Each row is a stored run up to a round. Between two rows no run with fewer bytes is expected "
    "to be better. Parentheses: the range of nine chances in ten."
)
STRAGGLERS = "Slow devices"
NO_STRAGGLER = "No single device decides how long the recommended run takes."
SIZES = "Sizes of messages"
SIZES_TABLE = "Mean bytes of a message"
SIZES_COLUMNS = ("", "payload", "message", "on the link")
SIZES_NOTE = (
    "Payload: what is sent, encoded. Message: with the framing of its call. On the link: with "
    "headers and the set-up of a connection, by the transport of the network's file."
)
SEARCH = "What the search tried"
SEARCH_COST = (
    "{begun} of {of} affordable configurations were begun. {rounds} rounds were trained for this "
    "plan; it has {runs} runs, those of further seeds included."
)
SEARCH_TABLE = "Every affordable configuration"
SEARCH_COLUMNS = ("what", "how it ended", "rounds", "rounds in budget", "right answers %")
STATE_ENDED, STATE_STOPPED = "at its end", "stopped early"
STATE_NOT_BEGUN, STATE_UNKNOWN, STATE_DIVERGED = "not begun", "not in this store", "diverged"
SAID = "What floss-plan show says"
SAID_TABLE, SAID_TIMES, SAID_USAGE = "Plan", "Simulated time", "Devices, energy and money"
SAID_METHODS = "Methods"
PROVENANCE = "What it was made from"
PROVENANCE_TABLE = "Fingerprints tell whether task, data, backbone or network have changed since"
PROVENANCE_COLUMNS = ("", "")
AGAIN = "Do it again"
AGAIN_TEXT = "In the folder of this page; what the store holds is not trained again."
TIME_AXIS, PARTS_AXIS = "time (s)", "seconds of a round"
SLIDER_NETWORK, SLIDER_DOWN, SLIDER_UP = "Network", "Download speed", "Upload speed"
SLIDER_RATIO = "Download over upload speed"
SLIDER_RTT, SLIDER_COMPUTE, SLIDER_BUDGET = "Round trip", "Computing time", "Budget"
FACTOR, AS_IT_IS = "{factor} times", "as it is"
DENSE_ROUNDS = "{count} rounds of everything"
UNSERVED_COSTS = "it does not state what the budget limits"
UNSERVED_SHAPED = "devices can fail or be off there, which changes what is learned"
UNSERVED_SHARED = "devices share capacity there, or speeds change with time"
UNSERVED_JITTER = "round trips vary there from message to message"
UNSERVED_POLLS = "a framework polls and starts processes there, at instants that vary"
UNSERVED_WORK = "devices compute there by their operations, which a record does not state"
UNSERVED_EXAMPLES = "a device has another number of examples from round to round"
UNSERVED_LARGE = "all its fleets have more than {most} devices"
UNSERVED_LOSSES = "its devices lose many different shares of packets"

WORDS: Mapping[str, Any] = {
    "seconds": [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"]],
    "bytes": [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]],
    "rates": [[1e9, "Gbit/s"], [1e6, "Mbit/s"], [1e3, "kbit/s"], [1, "bit/s"]],
    "links": "The median device: {down} down, {up} up, round trip {rtt}.",
    "spread": "{time} ({low} to {high})",
    "range": "{low} to {high}",
    "best": "the best one",
    "other": "the others",
    "none": "none within the budget",
    "told": "{accuracy} % after {rounds} rounds, {time}, {size}",
    "ranged": " ({range})",
    "answer": "The best one: {label}, {rounds} rounds. It has {accuracy} % right answers"
    "{ranged}, takes {time}, moves {size} and uses {used} % of the budget.",
    "nothing": "Nothing that was recorded fits this budget.",
    "stretch": "{from} to {to}: {best}",
    "single": "{from}: {best}",
    "columns": ["label", "accuracy", "range", "rounds", "time", "size", "used"],
    "shown": 12,
    "parts": ["download", "computing", "upload", "round trips"],
    "copied": "copied",
    "selected": "selected; copy it by Ctrl+C",
}
