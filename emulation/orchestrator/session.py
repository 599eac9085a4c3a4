"""One emulated run, from bring-up to the result folder."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from emulation.host.interrupts import interruptible, raise_interrupt, uninterrupted
from emulation.host.ledger import Ledger, living_runs
from emulation.judged import policy_hashes
from emulation.network.fabric import FABRIC
from emulation.options import RunOptions
from emulation.orchestrator import capture
from emulation.orchestrator.conductor import Conductor
from emulation.orchestrator.deployment import Machinery
from emulation.orchestrator.external_steps import Stepper
from emulation.orchestrator.progress import View, choose_view
from emulation.orchestrator.recorder import Recorder
from emulation.orchestrator.task_table import TaskBook
from emulation.protocol.json_channel import Channel
from metrics.display import print_summary
from metrics.fidelity import judge
from model.errors import INTERRUPTED, LabError, UserError
from model.network import build_network
from model.workload import generate_trace
from records.ownership import give_tree_to_user
from records.reader import open_result
from records.streams import complain, one_line, say
from records.writer import ResultWriter, RunInfo, result_folder
from rl.policies import checkpoint_entry

DONE, BROKEN, NOT_VALID = 0, 1, 3
_OPEN = 0o755
"""The mode of a result folder that is no secret any more."""


async def _conduct(conductor: Conductor) -> bool:
    """Run, with the first Ctrl-C asking for an orderly end and the second ending at once.

    Returns whether it came to an orderly end. (A ``KeyboardInterrupt`` would not stay in its task.)
    """
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(conductor.run())

    def stop() -> None:
        say("stopping; Ctrl-C again stops at once", err=True)
        loop.call_soon_threadsafe(conductor.ask_to_stop)

    def end() -> None:
        loop.call_soon_threadsafe(running.cancel)

    with interruptible(stop, end):
        try:
            await running
        except asyncio.CancelledError:
            return False
    return True


def _end_of(error: BaseException) -> tuple[int, str]:
    """Exit status and one line for whatever ended a run early."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    return BROKEN, str(error)


def _with_result(
    machinery: Machinery, view: View, writer: ResultWriter, caller: Channel | None
) -> None:
    """Bring up and conduct; the result folder is there from the first moment."""
    options = machinery.options
    trace = generate_trace(options.scenario, options.seed, machinery.network)
    book = TaskBook(trace, machinery.network, options.scenario.duration_s)
    recorder = Recorder(options, machinery.network, book, writer)
    machinery.bring_up(view.phase)
    if options.judged:
        options.judged.require_same(options.policy, options.policy_params)
    stepper = Stepper(caller, machinery) if caller else None
    conductor = Conductor(machinery, recorder, view, stepper)
    fabric = machinery.fabric.namespaces[FABRIC]
    try:
        with capture.captured(machinery.network, options, machinery.ledger, fabric, writer):
            orderly = asyncio.run(_conduct(conductor))
    finally:
        recorder.finish()
        overflows = options.scenario.cloud.mode == "overflow"
        writer.update_manifest(
            complete=conductor.complete,
            ran_s=recorder.ran_s,
            unmeasured_slots=recorder.unmeasured_slots,
            missing_walls=machinery.missing_walls,
            bring_up_s={p.name: round(p.seconds, 4) for p in machinery.phases},
            nodes=conductor.reports.farewells,
            switch_scheduling=machinery.fabric.switch.scheduling,
            **({"cpu_shares": machinery.shares.to_dict()} if machinery.shares else {}),
            **({"policy_limits": limits.to_dict()} if (limits := machinery.guest_limits) else {}),
            lost_processes=conductor.reports.lost,
            incidents=conductor.incidents.entries,
            **({"clocks": recorder.clocks} if recorder.clocks else {}),  # else nothing began
            **({"late_steps": stepper.late_steps} if stepper else {}),
            contradictions=book.contradictions,
            # A task that was passed on may be served in two places.
            **({} if overflows else {"disordered": book.disordered}),
            refused_records=conductor.reports.refused,
        )
    if not (orderly and conductor.complete):
        raise KeyboardInterrupt


def _policy_files(options: RunOptions) -> dict[str, object]:
    if options.stepped:
        return {}
    if options.judged:
        return options.judged.to_dict()
    return policy_hashes(options.policy, options.policy_params)


def _info(options: RunOptions, run_id: str) -> RunInfo:
    extra = {
        "datapath": options.datapath,
        "openflow": options.openflow,
        "without_netem": options.without_netem,
        "options": {
            "pcap": list(options.pcap),
            "pcap_snaplen": options.pcap_snaplen,
            "pcap_size_mb": options.pcap_size_mb,
            "stepped": options.stepped,
        },
        "policy_files": _policy_files(options),
        **({"judged": options.judged.to_dict()} if options.judged else {}),
        **checkpoint_entry(options.policy, options.policy_params, options.scenario),
        **options.origin,
    }
    return RunInfo(
        scenario=options.scenario,
        policy=options.policy,
        seed=None if options.judged else options.seed,
        world="emulation",
        speedup=options.speedup,
        policy_params=options.policy_params,
        command_line=options.command_line,
        run_id=run_id,
        extra=extra,
    )


class _Run:
    """A run and its result folder, tidied up whatever happens."""

    def __init__(self, options: RunOptions, ledger: Ledger, view: View, caller: Channel | None):
        info = _info(options, ledger.run_id)
        self.writer = ResultWriter(result_folder(options.out, info), info)
        self._options, self._ledger, self._view, self._caller = options, ledger, view, caller
        self._machinery: Machinery | None = None

    def run(self, undisturbed: ExitStack) -> tuple[int, str]:
        """Exit status, and why the run ended early ('' if it did not).

        From the end of the run on, until ``undisturbed`` ends, interrupts are ignored: tidying up
        and judging end, and are quick.
        """
        status, why = DONE, ""
        try:
            with self._view:
                self._machinery = Machinery(self._options, self._ledger)
                _with_result(self._machinery, self._view, self.writer, self._caller)
        except (KeyboardInterrupt, LabError) as error:
            status, why = _end_of(error)
        except BaseException as error:
            status, why = BROKEN, repr(error)
            raise
        finally:
            undisturbed.enter_context(uninterrupted())
            try:
                self._tidy(status, why)
            except UserError as error:  # the result cannot be completed: the disk is full
                status, why = BROKEN, why if status == BROKEN else str(error)
        return status, why

    def _tidy(self, status: int, why: str) -> None:
        begin = time.monotonic()
        try:
            if self._machinery is not None:
                with suppress(OSError):  # a full disk has been told of already
                    self._machinery.keep_logs(self.writer.folder)
                self._machinery.tear_down()
        finally:
            self._ledger.remove_all()
            seconds = round(time.monotonic() - begin, 4)
            # Nothing of the run runs any more: the seed of a judged one may be known.
            seed = {"seed": self._options.seed} if self._options.judged else {}
            try:
                self.writer.close(status, error=why or None, tear_down_s=seconds, **seed)
            finally:
                if self._options.judged:
                    self.writer.folder.chmod(_OPEN)
                give_tree_to_user(self.writer.folder)


def run_session(
    options: RunOptions,
    caller: Channel | None = None,
    on_folder: Callable[[Path], None] = lambda _: None,
) -> int:
    """Run one emulation; returns the exit status: 0 done, 1 broken, 130 interrupted.

    Whatever ends it, nothing of it stays on the machine but the result folder, which ``on_folder``
    gets as soon as it is there. ``caller`` decides in a stepped run, and is told of its result
    folder first; see ``emulation.orchestrator.external_steps``.
    """
    capture.chosen_links(build_network(options.scenario), options.pcap)
    others = living_runs()
    if others:
        say(f"note: also under way, sharing this machine's CPU: run {', '.join(others)}", err=True)
    title = f"{options.scenario.name} with {options.policy}"
    signal.signal(signal.SIGTERM, raise_interrupt)
    ledger = Ledger.open_new()
    try:
        run = _Run(options, ledger, choose_view(title), caller)
        on_folder(run.writer.folder)
        if caller:
            caller.send({"folder": str(run.writer.folder)})
    except BaseException:
        ledger.remove_all()
        raise
    with ExitStack() as undisturbed:
        status, why = run.run(undisturbed)
        return _tell(run.writer, options, status, why)


def _tell(writer: ResultWriter, options: RunOptions, status: int, why: str) -> int:
    """Judge what was recorded and tell the user; returns the exit status."""
    folder = writer.folder
    if status == BROKEN:
        complain(f"the run broke: {why}; see {one_line(folder)}")
        return status
    if not writer.manifest.get("ran_s"):
        complain(f"interrupted before the first slot; see {one_line(folder)}")
        return status
    verdict = judge(open_result(folder))
    writer.update_manifest(fidelity=verdict.to_dict())
    print_summary(folder, show_all=options.show_all)
    return NOT_VALID if options.strict and not verdict.valid else status
