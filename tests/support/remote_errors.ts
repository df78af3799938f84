import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { RemoteError } from "../../lib/remote/engine.ts";

type Work = () => Promise<unknown>;

/** That a call fails by the weather, for that reason. */
export function weather(work: Work, reason: RegExp): Promise<RemoteError> {
  return fails("down", work, reason);
}

/** That a server, or its address, is refused. */
export function refusal(work: Work, reason: RegExp): Promise<RemoteError> {
  return fails("refused", work, reason);
}

/** That what a server sends is wrong. */
export function wrong(work: Work, reason: RegExp): Promise<RemoteError> {
  return fails("wrong", work, reason);
}

async function fails(
  kind: RemoteError["kind"],
  work: Work,
  reason: RegExp,
): Promise<RemoteError> {
  const error = await assertRejects(work, RemoteError);
  assertEquals(error.kind, kind, error.message);
  assertMatch(error.message, reason);
  return error;
}
