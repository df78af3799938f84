import { assertEquals, assertRejects } from "@std/assert";
import { untilLetGo } from "../../lib/os/patience.ts";

const denied = new Deno.errors.PermissionDenied(
  "Access is denied. (os error 5)",
);

/** Fails so often, then gives how often it was called. */
function fails(times: number, error: Error): () => number {
  let calls = 0;
  return () => {
    if (++calls <= times) throw error;
    return calls;
  };
}

Deno.test("untilLetGo() waits on Windows as long as somebody has something open, and nowhere else", async () => {
  const never = AbortSignal.timeout(60_000);
  assertEquals(await untilLetGo(fails(3, denied), never, "windows"), 4);
  for (const platform of ["linux", "macos"] as const) {
    await assertRejects(() => untilLetGo(fails(1, denied), never, platform));
  }
  // One that does not pass; and one that takes too long.
  const missing = new Deno.errors.NotFound("Not found (os error 2)");
  await assertRejects(() => untilLetGo(fails(1, missing), never, "windows"));
  const long = () => untilLetGo(fails(9, denied), never, "windows", 100);
  await assertRejects(long, Deno.errors.PermissionDenied);
});

Deno.test("untilLetGo() hears a signal while it waits", async () => {
  const reason = new Error("enough");
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), 20);
  const error = await assertRejects(() =>
    untilLetGo(fails(99, denied), controller.signal, "windows")
  );
  assertEquals(error, reason);
});
