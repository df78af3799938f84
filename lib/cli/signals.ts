/** The signals that end a run early, and their numbers (signal(7)). */
const SIGNALS: readonly (readonly [Deno.Signal, number])[] =
  Deno.build.os === "windows"
    ? [["SIGINT", 2], ["SIGBREAK", 21]]
    : [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]];

/** Signals turned into an abort, as long as it is not disposed. */
export interface SignalWatch extends Disposable {
  /** Aborted when a signal came. */
  readonly signal: AbortSignal;
  /** The exit code that the signal asks for: 128 and its number. */
  readonly exitCode: number | undefined;
}

/** Calls a handler at Ctrl-C and its like, until it is disposed. */
export function onSignals(
  handler: (name: Deno.Signal, number: number) => void,
): Disposable {
  const handlers = SIGNALS.map(([name, number]) => {
    const one = () => handler(name, number);
    Deno.addSignalListener(name, one);
    return [name, one] as const;
  });
  return {
    [Symbol.dispose]() {
      for (const [name, one] of handlers) Deno.removeSignalListener(name, one);
    },
  };
}

/** Watches for Ctrl-C and its like, so that a run can end in good order. */
export function untilSignal(): SignalWatch {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const listening = onSignals((_name, number) => {
    exitCode ??= 128 + number;
    controller.abort();
  });
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    [Symbol.dispose]: () => listening[Symbol.dispose](),
  };
}
