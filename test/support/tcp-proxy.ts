import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP proxy to a real server. Shutting it is an outage for the service behind it, and for no other. */
export interface TcpProxy {
  port: number;
  open(): Promise<void>;
  /** Refuses connections and breaks those that there are. */
  shut(): Promise<void>;
}

/**
 * Opens a proxy to `host:port`. Its port stays the same over every outage.
 *
 * @param onData gets each chunk, in both directions.
 */
export async function tcpProxy(host: string, port: number, onData?: (chunk: Buffer) => void): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  const keep = (socket: Socket, other: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      sockets.delete(socket);
      other.destroy();
    });
  };
  const proxy: TcpProxy = {
    port: 0,
    open: async () => {
      const opened = createServer((socket) => {
        const onward = connect(port, host);
        keep(socket, onward);
        keep(onward, socket);
        if (onData) for (const side of [socket, onward]) side.on('data', onData);
        socket.pipe(onward).pipe(socket);
      });
      await new Promise<void>((resolve) => opened.listen(proxy.port, '127.0.0.1', resolve));
      proxy.port = (opened.address() as AddressInfo).port;
      server = opened;
    },
    shut: async () => {
      const closed = new Promise<void>((resolve) => {
        if (server) server.close(() => resolve());
        else resolve();
      });
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  await proxy.open();
  return proxy;
}
