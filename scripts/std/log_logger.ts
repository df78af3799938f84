// Stand-in for @std/log/logger: see scripts/deno.
import type { BaseHandler } from "./log_base_handler.ts";
import { type LevelName, LogLevels } from "./log_levels.ts";

export class Logger {
  readonly level: number;
  readonly #name: string;
  readonly #handlers: BaseHandler[];

  constructor(
    name: string,
    levelName: LevelName,
    options: { handlers?: BaseHandler[] } = {},
  ) {
    this.#name = name;
    this.level = LogLevels[levelName];
    this.#handlers = options.handlers ?? [];
  }

  debug(msg: string): string {
    return this.#log("DEBUG", msg);
  }
  info(msg: string): string {
    return this.#log("INFO", msg);
  }
  warn(msg: string): string {
    return this.#log("WARN", msg);
  }
  error(msg: string): string {
    return this.#log("ERROR", msg);
  }

  #log(levelName: LevelName, msg: string): string {
    const level = LogLevels[levelName];
    if (level < this.level) return msg;
    const datetime = new Date();
    for (const handler of this.#handlers) {
      handler.handle({
        msg,
        level,
        levelName,
        loggerName: this.#name,
        datetime,
      });
    }
    return msg;
  }
}
