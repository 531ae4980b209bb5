"""Film artifacts: what the Prefect UI shows of a film. A report that fails keeps no film back."""

from prefect.artifacts import acreate_markdown_artifact

from prefect_sora.limits import limits
from prefect_sora.renders.film import CutList
from prefect_sora.store.backends import VideoFolder
from prefect_sora.tasks.artifacts import harmless, in_run, listener, logger
from prefect_sora.tasks.markdown import code, cost, data_url, plain, player, read_small, size, table


def stitching(title: str, shots: int) -> None:
    """Say that a film is being joined."""
    logger().info("Joining %d shots into %r.", shots, title)
    if heard := listener():
        heard.stitching(title, shots)


async def show_film(kept: CutList, folder: VideoFolder) -> None:
    """Put the film into the UI: its contact sheet, the film itself, its cuts."""
    film = kept.film
    logger().info("Kept the film %r (%s) at %s", film.title, size(film.size_bytes), film.url)
    if not in_run():
        return
    with harmless("The film is"):
        await acreate_markdown_artifact(
            key=f"film-{film.key}",
            markdown=await _markdown(kept, folder),
            description=plain(f"{film.title} · {film.shots} shots · {film.duration_seconds:.1f} s"),
        )


async def _markdown(kept: CutList, folder: VideoFolder) -> str:
    film = kept.film
    parts = [f"## {plain(film.title)}"]
    sheet = await read_small(folder, f"{film.folder}/contact_sheet.jpg")
    if sheet and len(sheet) <= limits().inline_max_bytes:
        parts.append(f"![contact sheet]({data_url('image/jpeg', sheet)})")
    parts.append(await player(film, folder, f"{film.folder}/film.mp4"))
    made = "copied" if film.copied_picture else "encoded anew"
    length = f"{film.width} x {film.height}, {film.duration_seconds:.2f} s, {film.frames} frames"
    parts.append(
        table(
            [
                ("Picture", f"{length}, {made}"),
                ("Cost", cost(film)),
                ("Size", size(film.size_bytes)),
                ("SHA-256", code(film.sha256)),
                ("Film key", code(film.key)),
            ]
        )
    )
    head = "| Shot | Title | From | To | Begins with | Take | Render |"
    rows = [
        f"| {cut.number} | {plain(cut.title)} | {cut.starts_at:.2f} s | {cut.ends_at:.2f} s "
        f"| {plain(cut.continuity.replace('_', ' '))} | {cut.take} of {cut.takes} "
        f"| {code(cut.key)} |"
        for cut in kept.cuts
    ]
    parts.append("\n".join([head, "| --- | --- | --- | --- | --- | --- | --- |", *rows]))
    return "\n\n".join(filter(None, parts))
