import { CacheError, type CacheErrorKind, kindOfError } from "../error.ts";
import { osErrorText } from "../os/error.ts";

/**
 * A file could not be put in its place: what was tried, what the operating system
 * said. Nothing half is left at the destination.
 *
 * @example Telling why
 * ```ts
 * import { linkFile, LinkError } from "@rebuild/cache";
 *
 * try {
 *   await linkFile("/nowhere/file", "/nowhere/else");
 * } catch (error) {
 *   if (!(error instanceof LinkError)) throw error;
 *   console.log(error.kind, error.src, error.dst);
 * }
 * ```
 *
 * @category Errors
 */
export class LinkError extends CacheError {
  /** The class's name. */
  override name = "LinkError";
  /** The cached file or directory. */
  readonly src: string;
  /** Where it should have been put. */
  readonly dst: string;

  /**
   * An error about a source and a destination.
   *
   * @param message What could not be done, and why.
   * @param src The cached file or directory.
   * @param dst Where it should have been put.
   * @param kind What it means.
   * @param cause The error underneath, if there is one.
   */
  constructor(
    message: string,
    src: string,
    dst: string,
    kind: CacheErrorKind,
    cause?: unknown,
  ) {
    super(message, dst, kind, cause);
    this.src = src;
    this.dst = dst;
  }
}

/** Wraps an OS error: `what: what the OS said`. */
export function linkFailure(
  what: string,
  src: string,
  dst: string,
  error: unknown,
  kind: CacheErrorKind = kindOfError(error),
): LinkError {
  const message = `${what}: ${osErrorText(error)}`;
  return new LinkError(message, src, dst, kind, error);
}

/** What is said of something that stands in the way. */
export const STANDS_THERE =
  "something stands there, and stays unless you say otherwise: --if-exists (ifExists) skip leaves it, merge puts files into it, replace deletes it";
