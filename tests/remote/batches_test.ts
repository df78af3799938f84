import { assertEquals } from "@std/assert";
import { inBatches, nameOf, unique } from "../../lib/remote/batches.ts";

const digest = (size: number) => ({ hash: `${size}`.padStart(64, "0"), size });

Deno.test("inBatches() keeps the order, and each batch below the limit", () => {
  const sizes = [100, 4000, 300, 10, 0, 250, 90_000, 5];
  const { batches, large } = inBatches(sizes.map(digest), (it) => it, 1000);
  assertEquals(large.map(({ size }) => size), [4000, 90_000]);
  const found = batches.map((batch) => batch.map(({ size }) => size));
  // Around each are 96 bytes.
  assertEquals(found, [[100, 300, 10, 0], [250, 5]]);
  assertEquals(inBatches([], digest, 1000), { batches: [], large: [] });
});

Deno.test("unique() leaves out what is there twice", () => {
  const all = unique([1, 2, 1, 3, 2].map(digest), (it) => it);
  assertEquals(all.map(({ size }) => size), [1, 2, 3]);
  assertEquals(nameOf(digest(7)), `${"7".padStart(64, "0")}/7`);
});
