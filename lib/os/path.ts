/**
 * What we do with paths, for the platform that we run on.
 *
 * Of `@std/path` only what can't be said by the rest: each module of it that is loaded
 * takes a tenth of a millisecond of every run. And chosen here, not by
 * `@std/path/resolve` and its like: those ask `globalThis.process` for the platform,
 * at which Deno sets up its Node compatibility. That takes 12 ms, a third of a short
 * run.
 *
 * @module
 */

import { fromFileUrl as posixFromFileUrl } from "@std/path/posix/from-file-url";
import { isAbsolute as posixIsAbsolute } from "@std/path/posix/is-absolute";
import { resolve as posixResolve } from "@std/path/posix/resolve";
import { fromFileUrl as windowsFromFileUrl } from "@std/path/windows/from-file-url";
import { isAbsolute as windowsIsAbsolute } from "@std/path/windows/is-absolute";
import { resolve as windowsResolve } from "@std/path/windows/resolve";
import { CacheError } from "../error.ts";
import { steady } from "./patience.ts";

const isWindows = Deno.build.os === "windows";

/** The last name of a path; of a root, nothing. */
export function basename(path: string): string {
  const last = isWindows ? /([^/\\:]*)[/\\]*$/ : /([^/]*)\/*$/;
  return last.exec(path)![1]!;
}

/** The path of what an absolute path lies in; of a root, itself. */
export function dirname(path: string): string {
  return resolve(path, "..");
}

/** The path of a `file:` URL. */
export const fromFileUrl: (url: URL) => string = isWindows
  ? windowsFromFileUrl
  : posixFromFileUrl;

/** Whether a path does not depend on the working directory. */
export const isAbsolute: (path: string) => boolean = isWindows
  ? windowsIsAbsolute
  : posixIsAbsolute;

/** The path of a name in a directory, which is an absolute path. */
export function join(directory: string, name: string): string {
  return resolve(directory, name);
}

/**
 * The absolute path, without `.`, `..` and a slash at its end.
 *
 * @param below What is meant below it.
 */
export function resolve(path: string, ...below: string[]): string {
  // @std/path would ask globalThis.process for the working directory, too.
  const from = isAbsolute(path) ? [] : [Deno.cwd()];
  return isWindows
    ? windowsResolve(...from, path, ...below)
    : posixResolve(...from, path, ...below);
}

/**
 * The absolute path that a user, or a program, means.
 *
 * `..` leads where the operating system says, not where the text does: behind a
 * symbolic link those are two places.
 *
 * @throws What the operating system says to the part before a `..`. On Windows, a
 * {@linkcode CacheError} of kind `refused` for what is not the path of a file.
 */
export function toPath(path: string | URL): string {
  const text = path instanceof URL ? fromFileUrl(path) : path;
  // Windows itself goes by the text.
  if (isWindows) return windowsPath(text, Deno.cwd());
  const parts = (isAbsolute(text) ? text : `${Deno.cwd()}/${text}`).split("/");
  const last = parts.lastIndexOf("..");
  if (last < 0) return resolve(text);
  // Step by step: asked for all at once, Deno itself may go by the text.
  let real = "";
  for (const part of parts.slice(0, last + 1)) {
    if (part === "" || part === ".") continue;
    if (part !== "..") real += `/${part}`;
    else {
      real = steady(Deno.realPathSync)(real || "/");
      if (!steady(Deno.statSync)(real).isDirectory) {
        throw new Deno.errors.NotADirectory(`"${real}" is not a directory`);
      }
      real = dirname(real).replace(/^\/$/, "");
    }
  }
  return resolve([real || "/", ...parts.slice(last + 1)].join("/"));
}

/**
 * The absolute path that Windows makes of a text, in the one form that is joined and
 * compared: `C:\…` or `\\server\share\…`. By learn.microsoft.com, "File path formats on
 * Windows systems".
 *
 * @throws {CacheError} Of kind `refused` for a device, a volume by its id, a stream of
 * a file, and for what is relative to another drive's working directory, which Deno
 * does not know.
 */
export function windowsPath(text: string, cwd: string): string {
  const refuse = (why: string): never => {
    throw new CacheError(`Cannot use "${text}": ${why}`, text, "refused");
  };
  let path = text.replaceAll("/", "\\");
  const [, device, below = ""] = /^\\\\([?.])(?:\\(.*))?$/s.exec(path) ?? [];
  if (device) {
    const isShare = /^UNC\\[^\\]+\\[^\\]/i.test(below);
    if (device === "." || !(isShare || /^[A-Za-z]:\\/.test(below))) {
      refuse(
        "it is a device. Say it with a drive, C:\\…, or \\\\server\\share\\…",
      );
    }
    // Behind this prefix nothing is taken for another spelling.
    if (/[. ](\\|$)/.test(below)) {
      refuse("without \\\\?\\ it would be another name");
    }
    path = isShare ? `\\\\${below.slice(4)}` : below;
  }
  const [drive = ""] = /^[A-Za-z]:/.exec(path) ?? [];
  if (drive && path[2] !== "\\" && !startsWithDrive(cwd, drive)) {
    refuse(
      `it is relative to what ${drive} has as its working directory. Say ${drive}\\…`,
    );
  }
  if (/[:?]/.test(path.slice(drive.length))) {
    refuse("a name has neither a colon nor a question mark in it");
  }
  const full: string = windowsResolve(cwd, path);
  const parts = full.split("\\");
  const last = parts.length - 1;
  const plain = parts.map((it, i) =>
    i === last ? it.replace(/[. ]+$/, "") : it.replace(/([^.])\.$/, "$1")
  );
  return windowsResolve(plain.join("\\"));
}

function startsWithDrive(path: string, drive: string): boolean {
  return path.slice(0, 2).toLowerCase() === drive.toLowerCase();
}
