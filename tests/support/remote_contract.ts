import { create, toBinary } from "@bufbuild/protobuf";
import { assert, assertEquals } from "@std/assert";
import type { Digest, Engine } from "../../lib/remote/engine.ts";
import { ActionResultSchema } from "../../lib/remote/messages_pb.ts";
import {
  digestOf,
  MemorySink,
  MemorySource,
  randomContent,
} from "./remote_contents.ts";

/** An action result that names files, as some servers want it to be. */
export function resultOf(files: readonly Digest[]): Uint8Array<ArrayBuffer> {
  const outputFiles = files.map(({ hash, size }, at) => ({
    path: `pack/${at}`,
    digest: { hash, sizeBytes: BigInt(size) },
  }));
  // bazel-remote would name itself, where nobody is named.
  const executionMetadata = { worker: "a test" };
  const message = create(ActionResultSchema, {
    outputFiles,
    executionMetadata,
  });
  return new Uint8Array(toBinary(ActionResultSchema, message));
}

/** That an engine, whose server has nothing yet, gives back what was put there. */
export async function assertKeeps(engine: Engine): Promise<void> {
  const call = { signal: new AbortController().signal };
  const source = new MemorySource();
  const sizes = [0, 1, 1000, (1 << 20) - 1, 1 << 20, (5 << 20) + 7];
  const digests = sizes.map((size) => source.add(randomContent(size)));
  const pack = randomContent(8 << 20);
  const never = digestOf(randomContent(10));
  const action = digestOf(randomContent(100));
  const packed = digestOf(pack);
  const all = [...digests, packed];

  assertEquals(await engine.open(call), {});
  assertEquals(await engine.getAction(action, call), undefined);
  assertEquals(
    await engine.missing([...all, never], call),
    [...all, never].filter(({ size }) => size > 0),
  );
  const uploads = digests.map((digest) => ({ digest }));
  await engine.upload(
    [...uploads, { digest: packed, content: pack }],
    source,
    call,
  );
  assertEquals(source.open, 0);
  assertEquals(await engine.missing([...all, never], call), [never]);
  const result = resultOf(all);
  await engine.putAction(action, result, call);
  assertEquals(await engine.getAction(action, call), result);

  const sink = new MemorySink();
  assertEquals(await engine.download([...all, never], sink, call), [never]);
  for (const it of digests) {
    assertEquals(sink.byHash.get(it.hash), source.byHash.get(it.hash));
  }
  assertEquals([sink.puts, sink.streams], [4, 3]);

  const ranges = [[0, 10], [5, 5], [1 << 20, 2 << 20], [0, pack.length], [
    pack.length - 1,
    pack.length,
  ]] as const;
  const parts = await Promise.all(
    ranges.map(([from, to]) =>
      engine.range!({ digest: packed, from, to }, call)
    ),
  );
  ranges.forEach(([from, to], at) =>
    assert(equal(parts[at]!, pack.subarray(from, to)), `${from} to ${to}`)
  );
  const gone = { digest: never, from: 1, to: 3 };
  assertEquals(await engine.range!(gone, call), undefined);
}

/** Faster than assertEquals() for megabytes. */
function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
