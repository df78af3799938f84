/**
 * The library's only way to say something: silent until somebody listens.
 *
 * @module
 */

import { checkMethods } from "./os/arguments.ts";

/**
 * Where the library's messages go. A `Logger` of `@std/log` is one, and so is
 * `console`.
 *
 * @category Log
 */
export interface LogSink {
  /** Each step: what was renamed where, and why something was not possible. */
  debug(message: string): unknown;
  /** Something that the user should know and may want to act on. */
  warn(message: string): unknown;
  /** Details of a step: each retry, each mended directory. Optional. */
  trace?(message: string): unknown;
}

let sink: LogSink | undefined;

/**
 * Sends the library's messages somewhere. Without it the library is silent.
 *
 * @param to Where they go; `undefined` makes it silent again.
 * @returns The sink that was set before.
 * @throws {TypeError} If it has no `debug()` or no `warn()`.
 *
 * @example Listening
 * ```ts
 * import { setLogSink } from "@rebuild/cache";
 *
 * setLogSink(console);
 * ```
 *
 * @category Log
 */
export function setLogSink(to: LogSink | undefined): LogSink | undefined {
  if (to !== undefined) checkMethods("sink", to, ["debug", "warn"]);
  const before = sink;
  sink = to;
  return before;
}

/**
 * What the library's modules call. Messages are functions, so that a message
 * that nobody hears costs nothing.
 */
export const log = {
  debug(message: () => string): void {
    sink?.debug(message());
  },
  warn(message: () => string): void {
    sink?.warn(message());
  },
  trace(message: () => string): void {
    sink?.trace?.(message());
  },
};
