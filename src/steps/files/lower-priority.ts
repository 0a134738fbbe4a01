/** Lets the server's own thread go first. */
import { readlinkSync } from "node:fs";
import { setPriority } from "node:os";

/**
 * Makes the operating system prefer every other thread to the calling one, so that parsing a large file takes what the event loop and a
 * database on the same machine leave. Linux only, where a priority belongs to a thread; elsewhere it would be the whole process's.
 */
export function lowerOwnPriority(niceness: number): void {
  if (process.platform !== "linux") return;
  try {
    const threadId = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
    if (threadId !== process.pid) setPriority(threadId, niceness);
  } catch {
    // Without /proc it runs at the priority of everybody else.
  }
}
