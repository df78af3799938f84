import { assertEquals, assertRejects } from "@std/assert";
import { pool, Room } from "../../lib/remote/pool.ts";

const never = new AbortController().signal;

Deno.test("pool() and Room do everything once, four at a time at most", async () => {
  const room = new Room(4);
  const done: number[] = [];
  let [now, most] = [0, 0];
  const items = Array.from({ length: 30 }, (_, i) => i);
  const half = (items: number[]) =>
    pool(items, 4, never, (item, signal) =>
      room.run(signal, async () => {
        most = Math.max(most, ++now);
        await new Promise((resolve) => setTimeout(resolve, 1));
        now--;
        done.push(item);
      }));
  await Promise.all([half(items.slice(0, 15)), half(items.slice(15))]);
  assertEquals(done.sort((a, b) => a - b), items);
  assertEquals(most, 4);
});

Deno.test("pool() stops the others when one fails, and throws what it threw", async () => {
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
  const attempt = () => pool([1, 2, 3, 4, 5, 6], 4, never, job);
  await assertRejects(attempt, RangeError, "two");
  assertEquals([begun, stopped], [4, 3]);
});

Deno.test("Room.run() waits no longer when its signal says so", async () => {
  const room = new Room(4);
  const { promise, resolve } = Promise.withResolvers<void>();
  const busy = [1, 2, 3, 4].map(() => room.run(never, () => promise));
  const controller = new AbortController();
  const waiting = room.run(controller.signal, () => Promise.resolve());
  const last = room.run(never, () => Promise.resolve("last"));
  controller.abort(new RangeError("enough"));
  await assertRejects(() => waiting, RangeError, "enough");
  resolve();
  await Promise.all(busy);
  assertEquals(await last, "last");
  const aborted = room.run(controller.signal, () => Promise.resolve());
  await assertRejects(() => aborted, RangeError, "enough");
});
