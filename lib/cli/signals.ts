/** A signal, and its number (signal(7)). */
type Known = readonly [Deno.Signal, number];

/** The signals that end a run early. */
export function endingSignals(
  os: typeof Deno.build.os = Deno.build.os,
): readonly Known[] {
  const common: Known[] = [["SIGINT", 2], ["SIGHUP", 1]];
  // SIGHUP of Windows: its console was closed, and in five seconds it is killed.
  return os === "windows"
    ? [...common, ["SIGBREAK", 21]]
    : [...common, ["SIGTERM", 15], ["SIGQUIT", 3]];
}

/**
 * Signals that mean something to a command that is run, and would end who runs it. Not
 * SIGBUS, SIGSYS and SIGTRAP: who caught them would run into the same fault for ever.
 */
const MEANT: readonly Deno.Signal[] = [
  "SIGABRT",
  "SIGALRM",
  "SIGCONT",
  "SIGPROF",
  "SIGUSR1",
  "SIGUSR2",
  "SIGVTALRM",
  "SIGWINCH",
  "SIGXCPU",
  "SIGXFSZ",
];

/** Those that only Linux has, or that end nothing elsewhere. */
const MEANT_ON_LINUX: readonly Deno.Signal[] = [
  "SIGIO",
  "SIGPWR",
  "SIGSTKFLT",
];

/** Signals turned into an abort, as long as it is not disposed. */
export interface SignalWatch extends Disposable {
  /** Aborted when a signal came. */
  readonly signal: AbortSignal;
  /** The exit code that the signal asks for: 128 and its number. */
  readonly exitCode: number | undefined;
}

/** Calls a handler at each signal that can be caught, until it is disposed. */
export function onSignals(handler: (name: Deno.Signal) => void): Disposable {
  const { os } = Deno.build;
  return listen([
    ...endingSignals().map(([name]) => name),
    ...os === "windows" ? [] : MEANT,
    ...os === "linux" ? MEANT_ON_LINUX : [],
  ], handler);
}

/** Watches for Ctrl-C and its like, so that a run can end in good order. */
export function untilSignal(): SignalWatch {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const numbers = new Map(endingSignals());
  const listening = listen([...numbers.keys()], (name) => {
    exitCode ??= 128 + numbers.get(name)!;
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

function listen(
  names: readonly Deno.Signal[],
  handler: (name: Deno.Signal) => void,
): Disposable {
  const handlers = names.map((name) => {
    const one = () => handler(name);
    Deno.addSignalListener(name, one);
    return [name, one] as const;
  });
  return {
    [Symbol.dispose]() {
      for (const [name, one] of handlers) Deno.removeSignalListener(name, one);
    },
  };
}
