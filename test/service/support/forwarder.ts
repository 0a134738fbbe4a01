/** One address for whichever server is behind it now, as a load balancer is: a server that restarts gets another port. */
import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";

export interface Forwarder {
  readonly url: string;
  close(): Promise<void>;
}

/** `port` is asked for each connection. */
export async function startForwarder(port: () => number): Promise<Forwarder> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = dial(port(), "127.0.0.1");
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      // What breaks on one side breaks on the other; that is all this has to say.
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
