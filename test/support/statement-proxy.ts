import { type AddressInfo, connect, createServer } from 'node:net';

export interface StatementProxy {
  port: number;
  /** Text of every executed statement, in order. */
  statements: string[];
  close(): Promise<void>;
}

/** A proxy to PostgreSQL that parses the client's half of the protocol (version 3). */
export async function statementProxy(host: string, port: number): Promise<StatementProxy> {
  const statements: string[] = [];
  const server = createServer((client) => {
    const onward = connect(port, host);
    let rest = Buffer.alloc(0);
    let isStarted = false;
    const prepared = new Map<string, string>();
    client.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (;;) {
        // The first message has no type byte.
        const head = isStarted ? 1 : 0;
        if (rest.length < head + 4) break;
        const length = head + rest.readUInt32BE(head);
        if (rest.length < length) break;
        const type = isStarted ? String.fromCharCode(rest[0] as number) : '';
        const body = rest.subarray(head + 4, length);
        if (type === 'Q') statements.push(textAt(body, 0));
        // A statement is prepared with a name, which may be empty, and executed each time it is bound.
        if (type === 'P') prepared.set(textAt(body, 0), textAt(body, body.indexOf(0) + 1));
        if (type === 'B') statements.push(prepared.get(textAt(body, body.indexOf(0) + 1)) ?? '');
        rest = rest.subarray(length);
        isStarted = true;
      }
    });
    client.pipe(onward).pipe(client);
    for (const socket of [client, onward]) socket.on('error', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    statements,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

const textAt = (body: Buffer, start: number): string => body.subarray(start, body.indexOf(0, start)).toString();
