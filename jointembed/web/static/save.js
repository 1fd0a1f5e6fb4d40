// @ts-check
// The listed or selected items as a file: a playlist, a table, or their paths.

import { valuesOf } from "./api.js";
import { announce, byId } from "./dom.js";
import { formatCsv, plural } from "./format.js";
import { idsOf, locate, parts, pointOf, presentPoints, state, titleOf } from "./state.js";

/** The ids to save: all in the table, as it is sorted, all that are selected, or those in the list. */
function idsToSave() {
  if (state.view === "table") return idsOf(parts.table.points);
  if (state.question.kind === "selection") return idsOf(presentPoints());
  return state.hits.map((/** @type {any} */ hit) => hit.id);
}

/** The rows of items, from their columns where the list does not hold them. */
async function rowsOf(ids) {
  const listed = new Map(state.hits.map((hit) => [hit.id, hit.row]));
  if (ids.every((id) => listed.has(id))) return ids.map((id) => listed.get(id));
  const rows = ids.map((id) => ({ id }));
  await locate(ids);
  for (const { name } of state.info.columns) {
    const column = await state.source.column(name);
    ids.forEach((id, at) => {
      const values = valuesOf(column, pointOf(id));
      if (values.length) rows[at][name] = values.length > 1 ? values : values[0];
    });
  }
  return rows;
}

/** Text as parts of a Blob, in which lone surrogates become the bytes that they stand for. */
const partsOf = (text) =>
  text
    .split(/([\udc80-\udcff])/u)
    .map((part) => (/^[\udc80-\udcff]$/u.test(part) ? Uint8Array.of(part.charCodeAt(0) & 255) : part));

/** A playlist of the sounds beside an exported page, by their addresses. */
async function embeddedPlaylist(ids) {
  const hits = await Promise.all(ids.map((id) => state.source.row(id)));
  const lines = hits
    .filter((hit) => hit.audio)
    .flatMap((hit) => {
      const label = [hit.row.artist, titleOf(hit)].flat().filter(Boolean).join(" - ").replaceAll(/\s+/g, " ");
      return [`#EXTINF:${Math.round(hit.row.seconds ?? -1)},${label}`, new URL(hit.audio, location.href).href];
    });
  if (!lines.length) throw new Error("None of these items has a sound file.");
  return new Blob(partsOf(["#EXTM3U", ...lines, ""].join("\n")));
}

const playlist = (ids) => (state.source.isLive ? state.source.playlist(ids) : embeddedPlaylist(ids));

function download(content, type, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = `${state.info.name}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const ACTIONS = {
  "save-playlist": async (ids) => {
    const content = await playlist(ids);
    download(content, "audio/x-mpegurl", "m3u8");
    const songs = (await content.text()).match(/^#EXTINF/gm) ?? []; // items without a sound are left out
    return `Playlist of ${plural(songs.length, "song")} saved`;
  },
  "save-table": async (ids) => {
    const names = ["id", ...state.info.columns.map(({ name }) => name).filter((name) => name !== "id")];
    download(new Blob(partsOf(formatCsv(await rowsOf(ids), names))), "text/csv", "csv");
    return `Table of ${plural(ids.length, "item")} saved`;
  },
  "copy-paths": async (ids) => {
    const paths = (await rowsOf(ids)).map((row) => row.path ?? row.id);
    await navigator.clipboard.writeText(paths.join("\n"));
    return `${plural(paths.length, "path")} copied`;
  },
};

/** Let the menu save what is listed. */
export function attachSaveMenu() {
  const menu = byId("save");
  const close = () => {
    menu.open = false;
    menu.querySelector("summary").focus();
  };
  for (const [id, action] of Object.entries(ACTIONS)) {
    byId(id).addEventListener("click", async () => {
      close();
      try {
        const message = await action(await idsToSave());
        byId("saved").textContent = message;
        announce(message);
      } catch (error) {
        byId("saved").textContent = error.message;
        announce(error.message);
      }
    });
  }
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    close();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(/** @type {any} */ (event.target))) menu.open = false;
  });
}
