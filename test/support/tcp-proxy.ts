import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A way to a real server that can be shut: an outage for one service, and for nobody else. */
export interface TcpDoor {
  port: number;
  open(): Promise<void>;
  /** Refuses connections and breaks those that there are. */
  shut(): Promise<void>;
}

/**
 * Opens a door to `host:port` on a port of its own, which stays the same over every outage.
 *
 * @param onData is shown whatever passes, in both directions.
 */
export async function tcpDoor(host: string, port: number, onData?: (chunk: Buffer) => void): Promise<TcpDoor> {
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
  const door: TcpDoor = {
    port: 0,
    open: async () => {
      const opened = createServer((socket) => {
        const onward = connect(port, host);
        keep(socket, onward);
        keep(onward, socket);
        if (onData) for (const side of [socket, onward]) side.on('data', onData);
        socket.pipe(onward).pipe(socket);
      });
      await new Promise<void>((resolve) => opened.listen(door.port, '127.0.0.1', resolve));
      door.port = (opened.address() as AddressInfo).port;
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
  await door.open();
  return door;
}
