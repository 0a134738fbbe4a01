/** A network between a program and its server that can begin to swallow packets: both sides stay connected and hear nothing any more. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface SwallowingProxy extends AsyncDisposable {
  readonly port: number;
  /** From now on what this side of the open connections sends goes nowhere; new connections are well. */
  swallow(from: "client" | "server" | "both"): void;
  /** What was held back arrives after all. */
  deliver(): void;
}

interface Lane {
  readonly to: Socket;
  held: Buffer[] | undefined;
}

/** In front of a server at `host`, which may be the folder of a unix socket. */
export async function openProxy({ host, port }: { readonly host: string; readonly port: number }): Promise<SwallowingProxy> {
  const lanes = new Set<{ readonly client: Lane; readonly server: Lane }>();
  const sockets = new Set<Socket>();
  const carry = (from: Socket, lane: Lane): void => {
    from.on("data", (bytes) => (lane.held ? lane.held.push(bytes) : lane.to.write(bytes)));
    // Neither does a goodbye arrive while packets are swallowed.
    from.on("end", () => lane.held ?? lane.to.end());
    from.on("error", () => undefined);
  };
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = host.startsWith("/") ? connect({ path: `${host}/.s.PGSQL.${port}`, allowHalfOpen: true }) : connect({ host, port, allowHalfOpen: true });
    for (const socket of [near, far]) sockets.add(socket);
    const pair: { client: Lane; server: Lane } = { client: { to: far, held: undefined }, server: { to: near, held: undefined } };
    lanes.add(pair);
    carry(near, pair.client);
    carry(far, pair.server);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    swallow(from) {
      for (const pair of lanes) for (const side of ["client", "server"] as const) if (from === side || from === "both") pair[side].held ??= [];
    },
    deliver() {
      for (const pair of lanes) {
        for (const lane of [pair.client, pair.server]) {
          for (const bytes of lane.held ?? []) if (lane.to.writable) lane.to.write(bytes);
          lane.held = undefined;
        }
      }
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
