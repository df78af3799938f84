import { EXIT } from "./ending.ts";
import type { Call, LS } from "./flags.ts";
import { print, printJson } from "./output.ts";
import { plural, size, span } from "./render.ts";
import { openExisting } from "./store.ts";
import { printable } from "../os/text.ts";

/** `rebuild-cache ls` */
export async function run(call: Call<typeof LS>): Promise<number> {
  const { json, quiet } = call.values;
  const cache = await openExisting(call, new AbortController().signal);
  const entries = cache.entries();
  const blobs = cache.blobs();
  if (json) {
    printJson("ls", { result: { path: cache.path, entries, blobs } });
    return EXIT.done;
  }
  const now = Date.now();
  const rows = entries.map((entry) => [
    entry.bucket === "default" ? "" : `${entry.bucket}/`,
    shown(entry.key),
    size(entry.bytes),
    plural(entry.files, "file"),
    `${span(now - Date.parse(entry.created))} old`,
    `used ${span(now - Date.parse(entry.lastUse))} ago`,
    entry.inUse ? "in use" : "",
  ]);
  const widths = [0, 1, 2, 3, 4, 5, 6].map((column) =>
    rows.reduce((widest, row) => Math.max(widest, row[column]!.length), 0)
  );
  for (const row of rows) {
    const [bucket, key, bytes, files, ...rest] = row.map((cell, i) =>
      i === 2 || i === 3 ? cell.padStart(widths[i]!) : cell
    );
    const name = `${bucket}${key}`.padEnd(widths[0]! + widths[1]!);
    const times = rest.map((cell, i) => cell.padEnd(widths[i + 4]!));
    print([name, bytes, files, ...times].join("  ").trimEnd());
  }
  for (const { digest, executable, bytes, lastUse } of blobs) {
    const used = `used ${span(now - Date.parse(lastUse))} ago`;
    const what = executable ? "executable blob" : "blob";
    print(`${digest}  ${size(bytes)}  ${what}  ${used}`);
  }
  if (!quiet) {
    const sum = [...entries, ...blobs].reduce((sum, it) => sum + it.bytes, 0);
    const all = [
      plural(entries.length, "entry", "entries"),
      ...blobs.length > 0 ? [plural(blobs.length, "blob")] : [],
    ];
    print([...all, size(sum)].join(", "));
  }
  return EXIT.done;
}

/** A key in one line, and not longer than one. */
function shown(key: string): string {
  const line = printable(key, 60);
  // What begins a line so is a command to GitHub's runner.
  return line.trimStart().startsWith("::") ? `"${line}"` : line;
}
