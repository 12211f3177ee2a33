import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP proxy to a real server. Closing it simulates an outage for one service only. */
export interface TcpProxy {
  port: number;
  open(): Promise<void>;
  /** Refuses new connections and breaks existing ones. */
  shut(): Promise<void>;
  /** Keeps existing connections open and forwards nothing over them. New connections work. */
  stall(): void;
  /** Breaks the stalled connections. */
  resume(): void;
}

/**
 * Opens a proxy to `host:port`. Its port stays the same after every outage.
 *
 * @param onData called with each chunk, in both directions.
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
    stall: () => {
      for (const socket of sockets) {
        socket.unpipe();
        socket.removeAllListeners('data');
        socket.pause();
      }
    },
    resume: () => {
      for (const socket of sockets) socket.destroy();
    },
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
