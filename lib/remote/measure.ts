import type { RemoteCallOptions } from "../cache/remote.ts";
import type { Counts, EngineCall } from "./engine.ts";

/** What goes over the wire during a call. */
export class Measure {
  readonly call: EngineCall;
  readonly #onProgress: RemoteCallOptions["onProgress"];
  #engine: Counts | undefined;
  #before: Counts | undefined;
  #bytes = 0;
  #total: number | undefined;

  constructor(
    signal: AbortSignal | undefined,
    onProgress: RemoteCallOptions["onProgress"],
  ) {
    this.#onProgress = onProgress;
    this.call = {
      signal: signal ?? new AbortController().signal,
      onBytes: (bytes) => {
        this.#bytes += bytes;
        this.#tell();
      },
    };
  }

  begin(counts: Counts): void {
    this.#engine = counts;
    this.#before = { ...counts };
  }

  expect(bytes: number): void {
    this.#total = this.#bytes + bytes;
    this.#tell();
  }

  get counts(): Counts {
    const { calls = 0, sentBytes = 0, receivedBytes = 0 } = this.#engine ?? {};
    const before = this.#before;
    return {
      calls: calls - (before?.calls ?? 0),
      sentBytes: sentBytes - (before?.sentBytes ?? 0),
      receivedBytes: receivedBytes - (before?.receivedBytes ?? 0),
    };
  }

  #tell(): void {
    const totalBytes = this.#total;
    this.#onProgress?.({
      bytes: this.#bytes,
      ...totalBytes !== undefined && { totalBytes },
    });
  }
}
