// Stand-in for @std/log/base-handler: see scripts/deno.
import { type LevelName, LogLevels } from "./log_levels.ts";

export interface LogRecord {
  readonly msg: string;
  readonly level: number;
  readonly levelName: string;
  readonly loggerName: string;
  readonly datetime: Date;
}
export type FormatterFunction = (record: LogRecord) => string;
export interface BaseHandlerOptions {
  formatter?: FormatterFunction;
}

export abstract class BaseHandler {
  readonly level: number;
  formatter: FormatterFunction;

  constructor(levelName: LevelName, options: BaseHandlerOptions = {}) {
    this.level = LogLevels[levelName];
    this.formatter = options.formatter ??
      (({ levelName, msg }) => `${levelName} ${msg}`);
  }

  handle(record: LogRecord): void {
    if (record.level >= this.level) this.log(this.formatter(record));
  }

  abstract log(message: string): void;
}
