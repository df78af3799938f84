/** "1 file", "2 files", "3,000 files". */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${thousands(count)} ${count === 1 ? one : many}`;
}

/** "0.4 ms", "211 ms", "12.3 s". */
export function milliseconds(ms: number): string {
  return ms < 10
    ? `${ms.toFixed(1)} ms`
    : ms < 10_000
    ? `${ms.toFixed(0)} ms`
    : `${(ms / 1000).toFixed(1)} s`;
}

/** "999 B", "1.2 kB", "3.4 GB": powers of 1,000, as disks are sold. */
export function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** "3,000". Not by toLocaleString, which takes 12 ms at its first call. */
export function thousands(count: number): string {
  return String(count).replaceAll(/\B(?=(\d{3})+$)/g, ",");
}

/** "3 s", "12 min", "5 h", "30 d": one unit is enough for an age. */
export function span(ms: number): string {
  const units = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000]] as const;
  for (const [unit, length] of units) {
    if (ms >= length) return `${Math.floor(ms / length)} ${unit}`;
  }
  return `${Math.max(0, Math.floor(ms / 1000))} s`;
}

/** What is said of a link that puts nothing there. */
export function leftAsIs(
  path: string,
  outcome: "unchanged" | "skipped",
): string {
  const what = outcome === "unchanged" ? "Unchanged" : "Skipped";
  return `${what} ${path}: it is there`;
}
