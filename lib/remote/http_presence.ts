import { seconds } from "./http_attempt.ts";
import { HttpError } from "./http_error.ts";

/**
 * Whether a server is there at all. `fetch` does not tell when a connection stands, and a
 * first answer may take its time. So where it does, the server is asked for something that
 * takes none.
 */
export class Presence {
  readonly #time: number;
  readonly #ask: (signal: AbortSignal) => Promise<void>;
  /** It has answered something. */
  #proven = false;
  #probe: Probe | undefined;

  /**
   * @param time Milliseconds within which it has to answer.
   * @param ask Gets any answer.
   */
  constructor(time: number, ask: (signal: AbortSignal) => Promise<void>) {
    this.#time = time;
    this.#ask = ask;
  }

  /** Watches over a request. `fail` is called if nobody is there. */
  watch(fail: (error: HttpError) => void): Watch {
    if (this.#proven) return { end: () => Promise.resolve() };
    let asked: Promise<void> | undefined;
    const ask = async () => {
      if (this.#proven) return;
      this.#probe ??= this.#start();
      const outcome = await this.#probe.outcome;
      this.#probe = undefined;
      if (outcome !== "dead" || this.#proven) return;
      fail(new HttpError("down", `no answer within ${seconds(this.#time)}`));
    };
    const timer = setTimeout(() => asked = ask(), this.#time / 2);
    return {
      end: async (answered) => {
        if (answered) this.#proven = true;
        clearTimeout(timer);
        if (!asked) return;
        this.#probe?.stop();
        await asked;
      },
    };
  }

  #start(): Probe {
    const abort = new AbortController();
    let dead = false;
    const timer = setTimeout(() => {
      dead = true;
      abort.abort();
    }, this.#time / 2);
    const ask = async () => {
      try {
        await this.#ask(abort.signal);
        this.#proven = true;
        return "alive";
      } catch {
        // Where it failed at once, the request itself will, and knows why.
        return dead ? "dead" : "unknown";
      } finally {
        clearTimeout(timer);
      }
    };
    return { outcome: ask(), stop: () => abort.abort() };
  }
}

/** Over one request. */
interface Watch {
  /** @param answered Whether there was an answer to it, of whatever kind. */
  end(answered: boolean): Promise<void>;
}

interface Probe {
  readonly outcome: Promise<"alive" | "dead" | "unknown">;
  stop(): void;
}
