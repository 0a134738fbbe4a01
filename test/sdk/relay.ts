/** An address that stays while the server behind it changes, as a load balancer has one. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Relay {
  readonly url: string;
  /** Where new connections go; undefined refuses them. */
  target: number | undefined;
  /** Connections that were made to it. */
  connections: number;
  /** Resets all connections. */
  cut(): void;
  close(): Promise<void>;
}

export async function startRelay(target?: number): Promise<Relay> {
  const ends = new Set<Socket>();
  const keep = (end: Socket): void => {
    ends.add(end);
    end.on("error", () => undefined).on("close", () => ends.delete(end));
  };
  const server = createServer((near) => {
    keep(near);
    relay.connections += 1;
    if (relay.target === undefined) return void near.resetAndDestroy();
    const far = connect(relay.target, "127.0.0.1");
    keep(far);
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const relay: Relay = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    target,
    connections: 0,
    cut: () => ends.forEach((end) => void end.resetAndDestroy()),
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      relay.cut();
      await closed;
    },
  };
  return relay;
}
