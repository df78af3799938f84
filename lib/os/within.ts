// Without a package, unlike path.ts: `clear/delete_asides.ts` runs where there is none.
const isWindows = Deno.build.os === "windows";

/** Whether an absolute path is `place`, or lies below it. Everything lies in no place. */
export function isWithin(path: string, place?: string): boolean {
  if (place === undefined) return true;
  const [inner, outer] = isWindows
    ? [path.toLowerCase(), place.toLowerCase()]
    : [path, place];
  const separator = isWindows ? "\\" : "/";
  return inner === outer ||
    inner.startsWith(outer.endsWith(separator) ? outer : outer + separator);
}
