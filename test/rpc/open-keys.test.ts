/** Open calls end with their key: which keys are looked at, which calls end, and what they say then. */
import { Client, credentials, Metadata, status as Status } from "@grpc/grpc-js";
import { expect, it } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import { OpenKeys } from "../../src/rpc/open-keys.ts";
import type { FoundKey } from "../../src/store/key-repository.ts";
import { goodKey, startTestServer } from "./server-fixture.ts";

const secretHash = Buffer.alloc(32, 1);
const useOf = (keyId: string, hash = secretHash) => ({ keyId, secretHash: hash });

function world() {
  let now = 0;
  const clock = { now: () => now, monotonic: () => now } as Clock;
  const good: FoundKey = {
    ...{ tenantId: "acme", name: "k", scopes: [], secretHash, tenantSuspended: false },
    ...{ expiresAt: undefined, revokedAt: undefined, previousSecretHash: undefined, previousExpiresAt: undefined },
  };
  const rows = new Map<string, FoundKey>([
    ["key_a", good],
    ["key_b", good],
  ]);
  const looks: (readonly string[])[] = [];
  let broken = false;
  const keys = {
    findKeys: async (ids: readonly string[]) => {
      looks.push(ids);
      if (broken) throw new Error("the database is away");
      return new Map(ids.flatMap((id) => (rows.has(id) ? [[id, rows.get(id) as FoundKey]] : [])));
    },
  };
  return { open: new OpenKeys({ keys, clock }), good, rows, looks, breakDown: (state: boolean) => (broken = state), passTo: (time: number) => (now = time) };
}

it("only keys of open calls are looked at, and a call that is over is none", async () => {
  const { open, looks } = world();
  await open.look();
  const [first, twin, other] = [open.hold(useOf("key_a")), open.hold(useOf("key_a")), open.hold(useOf("key_b"))];
  await open.look();
  first.release();
  first.release();
  other.release();
  await open.look();
  await open.look("key_b");
  twin.release();
  await open.look();
  expect(looks).toEqual([["key_a", "key_b"], ["key_a"]]);
  expect(open.hold(undefined).signal.aborted).toBe(false);
});

it("each call ends with the reason of its own key; what cannot be looked up goes on", async () => {
  const { open, good, rows, breakDown, passTo } = world();
  const [a, b, strange] = [open.hold(useOf("key_a")), open.hold(useOf("key_b")), open.hold(useOf("key_b", Buffer.alloc(32, 2)))];
  breakDown(true);
  await expect(open.look()).rejects.toThrow("away");
  breakDown(false);
  rows.set("key_a", { ...good, revokedAt: 5 });
  rows.set("key_b", { ...good, expiresAt: 10 });
  await open.look();
  expect(a.signal.reason).toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_REVOKED" });
  expect(strange.signal.reason).toMatchObject({ reason: "KEY_INVALID" });
  expect(b.signal.aborted).toBe(false);
  passTo(10);
  await open.look();
  expect(b.signal.reason).toMatchObject({ reason: "KEY_EXPIRED" });
  // A new call is judged anew, and what ended does not take it along.
  rows.set("key_a", good);
  const again = open.hold(useOf("key_a"));
  a.release();
  await open.look();
  expect(again.signal.aborted).toBe(false);
});

it("a stream whose handler leaves quietly with its key does not look finished", async () => {
  const { open, good, rows } = world();
  const begun = Promise.withResolvers<void>();
  const server = await startTestServer(
    {
      async *count(_request, context) {
        yield { text: "", number: 1 };
        const over = new Promise<void>((resolve) => context.signal.addEventListener("abort", () => resolve()));
        begun.resolve();
        await over;
      },
    },
    { holdKey: () => open.hold(useOf("key_a")) },
  );
  const client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${goodKey}`);
  const same = (bytes: Buffer): Buffer => bytes;
  const stream = client.makeServerStreamRequest("/test.echo.v1.EchoService/Count", same, same, Buffer.alloc(0), metadata);
  const ended = new Promise<{ code: number; metadata: Metadata }>((resolve) => stream.on("error", () => undefined).on("status", resolve));
  stream.resume();
  await begun.promise;
  rows.set("key_a", { ...good, revokedAt: 1 });
  await open.look("key_a");
  const end = await ended;
  expect(end.code).toBe(Status.UNAUTHENTICATED);
  expect(end.metadata.get("grpc-status-details-bin")[0]?.toString()).toContain("KEY_REVOKED");
  client.close();
  await server.stop();
});
