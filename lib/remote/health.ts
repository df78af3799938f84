import type { RemoteKind } from "./options.ts";

/**
 * How a remote is examined.
 *
 * @category Remote
 */
export interface DoctorOptions {
  /** Ends it; its reason is thrown. */
  signal?: AbortSignal | undefined;
}

/**
 * What can be done with a remote.
 *
 * @category Remote
 */
export interface RemoteHealth {
  /** For people: its URL without user, password and query. */
  readonly name: string;
  /** By which protocol it is asked. */
  readonly kind: RemoteKind;
  /** Whether it may be read. */
  readonly reads: boolean;
  /** Whether it may be written. Not tried, and false, if it was opened to be read. */
  readonly writes: boolean;
  /** How long a small question takes, in milliseconds. */
  readonly roundTripMs?: number;
  /** How fast a few megabytes got there. Known if it may be written. */
  readonly uploadBytesPerSecond?: number;
  /** How fast they came back. */
  readonly downloadBytesPerSecond?: number;
  /** One line that says why something can't be done. Without secrets. */
  readonly reason?: string;
}
