import { type ErrorKind, errorKind, OsError, osErrorText } from "./os/error.ts";

/**
 * What an error of this library means: what the OS meant, `refused`; `locked`: somebody
 * uses it; `empty`: a build wrote nothing; `unfinished`: a build in place failed;
 * `damaged`: what is in a cache is not what was put there.
 *
 * @category Errors
 */
export type CacheErrorKind =
  | ErrorKind
  | "refused"
  | "locked"
  | "empty"
  | "unfinished"
  | "damaged";

/**
 * An error of this library: what was tried, on which path, and what the
 * operating system said (its error is the `cause`).
 *
 * @example Telling one error from another
 * ```ts
 * import { CacheError, clearCache } from "@rebuild/cache";
 *
 * try {
 *   await clearCache("/");
 * } catch (error) {
 *   if (error instanceof CacheError && error.kind === "refused") {
 *     console.log(error.message);
 *   } else {
 *     throw error;
 *   }
 * }
 * ```
 *
 * @category Errors
 */
export class CacheError extends Error {
  /** The class's name. */
  override name = "CacheError";
  /** What it means, on every platform the same. */
  readonly kind: CacheErrorKind;
  /** The path that it is about. */
  readonly path: string;

  /**
   * An error about a path.
   *
   * @param message What could not be done, why, and what can be done about it.
   * @param path The path that it is about.
   * @param kind What it means.
   * @param cause The error underneath, if there is one.
   */
  constructor(
    message: string,
    path: string,
    kind: CacheErrorKind,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.path = path;
  }
}

/** What an error means, whether it is one of ours or the operating system's. */
export function kindOfError(error: unknown): CacheErrorKind {
  return error instanceof CacheError ? error.kind : errorKind(error);
}

/** Wraps an OS error: `Cannot VERB "PATH": what the OS said`. */
export function osFailure(
  verb: string,
  path: string,
  error: unknown,
  hint = "",
): CacheError {
  return new CacheError(
    `Cannot ${verb} "${path}": ${osErrorText(error)}${hint && `. ${hint}`}`,
    path,
    kindOfError(error),
    error,
  );
}

/** An error of a call to the OS in our words, if nobody gave it others on its way. */
export function told(error: unknown): unknown {
  return error instanceof OsError
    ? osFailure(error.call, error.path, error)
    : error;
}
