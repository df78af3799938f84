import { assertEquals, assertRejects } from "@std/assert";
import { Slots } from "../../lib/remote/slots.ts";

const never = new AbortController().signal;

Deno.test("Slots.forEach() does everything once, four at a time at most", async () => {
  const slots = new Slots();
  const done: number[] = [];
  let [now, most] = [0, 0];
  const items = Array.from({ length: 30 }, (_, i) => i);
  const half = (items: number[]) =>
    slots.forEach(items, never, async (item) => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 1));
      now--;
      done.push(item);
    });
  await Promise.all([half(items.slice(0, 15)), half(items.slice(15))]);
  assertEquals(done.sort((a, b) => a - b), items);
  assertEquals(most, 4);
});

Deno.test("Slots.forEach() stops the others when one fails, and throws what it threw", async () => {
  const slots = new Slots();
  let [begun, stopped] = [0, 0];
  const job = async (item: number, signal: AbortSignal) => {
    begun++;
    if (item === 2) throw new RangeError("two");
    await new Promise((_, reject) =>
      signal.addEventListener("abort", () => {
        stopped++;
        reject(signal.reason);
      })
    );
  };
  const attempt = () => slots.forEach([1, 2, 3, 4, 5, 6], never, job);
  await assertRejects(attempt, RangeError, "two");
  assertEquals([begun, stopped], [4, 3]);
  await slots.forEach([1], never, () => Promise.resolve());
});

Deno.test("Slots.run() waits no longer when its signal says so", async () => {
  const slots = new Slots();
  const { promise, resolve } = Promise.withResolvers<void>();
  const busy = [1, 2, 3, 4].map(() => slots.run(never, () => promise));
  const controller = new AbortController();
  const waiting = slots.run(controller.signal, () => Promise.resolve());
  const last = slots.run(never, () => Promise.resolve("last"));
  controller.abort(new RangeError("enough"));
  await assertRejects(() => waiting, RangeError, "enough");
  resolve();
  await Promise.all(busy);
  assertEquals(await last, "last");
  const aborted = slots.run(controller.signal, () => Promise.resolve());
  await assertRejects(() => aborted, RangeError, "enough");
});
