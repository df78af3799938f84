import { BaseHandler } from "@std/log/base-handler";
import { LogLevels } from "@std/log/levels";
import { Logger } from "@std/log/logger";
import { setLogSink } from "../log.ts";
import { printable } from "../os/text.ts";
import { LONGEST, toStderr } from "./output.ts";

class StderrHandler extends BaseHandler {
  override log(message: string): void {
    toStderr(message);
  }
}

/**
 * Sends the library's messages to standard error: warnings by default, nothing
 * with `-q`, each step with `-v`, all details with the time of day with `-vv`.
 */
export function setUpLogging(quiet: boolean, verbosity: number): void {
  const level = verbosity > 0 ? "DEBUG" : quiet ? "ERROR" : "WARN";
  const logger = new Logger("rebuild-cache", level, {
    handlers: [
      new StderrHandler(level, {
        formatter: ({ level, msg, datetime }) => {
          const time = verbosity > 1
            ? `${datetime.toISOString().slice(11, 23)} `
            : "";
          const what = level >= LogLevels.WARN ? "warning: " : "";
          const line = printable(msg, LONGEST);
          return `${time}rebuild-cache: ${what}${line}`;
        },
      }),
    ],
  });
  setLogSink({
    debug: (message) => logger.debug(message),
    warn: (message) => logger.warn(message),
    ...verbosity > 1 && { trace: (message) => logger.debug(message) },
  });
}
