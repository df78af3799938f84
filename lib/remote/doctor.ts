/**
 * What can be done with a server, tried.
 *
 * @module
 */

import { WrongContent } from "../cache/remote.ts";
import { actionOf } from "./action.ts";
import { digestOf } from "./digest.ts";
import { type Engine, type EngineCall, RemoteError } from "./engine.ts";
import type { RemoteHealth } from "./health.ts";
import { MemorySink, NO_SOURCE } from "./memory_sink.ts";

/** Bytes that are sent there and back. */
const NOISE = 4 << 20;

/** Questions, of which the median counts. */
const QUESTIONS = 5;

/** Tries what can be done. Whether it may be read at all is for the first error to say. */
export async function examine(
  engine: Engine,
  { update, mode }: {
    update: boolean | undefined;
    mode: "read" | "read-write";
  },
  call: EngineCall,
): Promise<Omit<RemoteHealth, "name" | "kind">> {
  const roundTripMs = await roundTrip(engine, call);
  const reads = { reads: true, writes: false, roundTripMs };
  if (mode === "read") {
    return {
      ...reads,
      reason: "it was opened to be read: nothing was written",
    };
  }
  if (update === false) {
    return { ...reads, reason: "it may not be written with these credentials" };
  }
  try {
    // A tiny one first, as a push does it: it also warms up the connection.
    await sendNoise(engine, 64, call);
    const sent = await sendNoise(engine, NOISE, call);
    const done = {
      ...reads,
      writes: true,
      uploadBytesPerSecond: speed(sent.milliseconds),
    };
    const start = performance.now();
    const memory = new MemorySink();
    await engine.download([sent.digest], memory, call);
    if (!memory.content) {
      return { ...done, reason: "what was sent a moment ago is not there" };
    }
    const milliseconds = performance.now() - start;
    return { ...done, downloadBytesPerSecond: speed(milliseconds) };
  } catch (error) {
    call.signal.throwIfAborted();
    if (error instanceof WrongContent) {
      return { ...reads, reason: "it gives back other bytes than were sent" };
    }
    if (!(error instanceof RemoteError)) throw error;
    return { ...reads, reason: error.message };
  }
}

async function roundTrip(engine: Engine, call: EngineCall): Promise<number> {
  const times: number[] = [];
  for (let asked = 0; asked < QUESTIONS; asked++) {
    const key = { bucket: "doctor", key: crypto.randomUUID() };
    const start = performance.now();
    await engine.getAction(actionOf(key, engine.layout).digest, call);
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[QUESTIONS >> 1]!;
}

async function sendNoise(engine: Engine, size: number, call: EngineCall) {
  const content = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) {
    crypto.getRandomValues(content.subarray(at, at + 65536));
  }
  const digest = digestOf(content);
  const start = performance.now();
  await engine.upload([{ digest, content }], NO_SOURCE, call);
  return { digest, milliseconds: performance.now() - start };
}

function speed(milliseconds: number): number {
  return Math.round(NOISE / Math.max(milliseconds, 0.001) * 1000);
}
