/**
 * What is said in a dry run.
 *
 * @module
 */

import { count } from "../fs/count.ts";
import type { LinkFileReport, LinkReport } from "../link/options.ts";
import { leftAsIs, plural, size } from "./render.ts";

/** What a link would do, and what stands in its place now. */
export function wouldLink(report: LinkReport | LinkFileReport): string {
  const { path, outcome, linkedBytes } = report;
  const what = "files" in report
    ? `${plural(report.files, "file")}, ${size(linkedBytes)}`
    : size(linkedBytes);
  switch (outcome) {
    case "would-replace":
      return `Would replace ${standing(path)} by ${what}`;
    case "would-merge":
      return `Would put ${what} into ${standing(path)}`;
    case "would-link":
      return `Would link ${path}: ${what}`;
  }
  return leftAsIs(path, outcome === "unchanged" ? outcome : "skipped");
}

/** What stands at a path, which would be replaced. */
function standing(path: string): string {
  const { isDirectory, isSymlink, size: bytes } = Deno.lstatSync(path);
  if (isDirectory) return `${path} (${contentOf(path)})`;
  return `${path} (${isSymlink ? "a symbolic link" : size(bytes)})`;
}

/** What a directory has in it, as far as it can be read. */
export function contentOf(path: string): string {
  const { files, directories, failure } = count(path);
  const counted = `${plural(files, "file")}, ${
    plural(directories, "directory", "directories")
  }`;
  return failure
    ? `at least ${counted}; "${failure.path}" can't be read: ${failure.message}`
    : counted;
}
