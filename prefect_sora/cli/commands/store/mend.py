"""`prefect-sora mend`: files of an object store get the content types that they lack."""

from prefect_sora.cli import exits, signals
from prefect_sora.cli.options import SHOWN, STORE, Shown, Store
from prefect_sora.cli.run import run_command
from prefect_sora.cli.saved import store_named
from prefect_sora.cli.screen import Screen


def mend(*, store: Store = STORE, shown: Shown = SHOWN) -> int:
    """Give files that earlier versions put into an object store their content types.

    Without them a link to a film downloads it. Nothing else of a file is changed, and files that
    are not this package's are not looked at.

    Args:
        store: See above.
        shown: See above.
    """

    def body(screen: Screen) -> int:
        from prefect_sora.store.backends.walk import retype

        folder = store_named(store).folder
        mended = signals.run(lambda: retype(folder))
        screen.document({"store": store, "mended": mended})
        for name in mended:
            screen.result(folder.url(name))
        count = f"{len(mended)} file{'s' * (len(mended) != 1)}"
        screen.result(f"✓ {count} mended in {store}." if mended else f"Nothing to mend in {store}.")
        return exits.OK

    return run_command(shown, body, store)
