import { type AddressInfo, createServer } from 'node:net';

export interface LeanSmtp {
  port: number;
  /** Number of accepted mails by Message-ID. */
  received: Map<string, number>;
  /** Number of mails that the client began and did not finish, because its connection broke. */
  interrupted(): number;
  close(): Promise<void>;
}

/** A fast SMTP server that accepts everything and stores only Message-IDs. */
export async function startLeanSmtp(): Promise<LeanSmtp> {
  const received = new Map<string, number>();
  let interrupted = 0;
  const server = createServer((socket) => {
    let rest = '';
    let isData = false;
    let isOpen = false;
    socket.setNoDelay(true);
    socket.on('close', () => (interrupted += isOpen ? 1 : 0));
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      rest += chunk.toString('latin1');
      let answer = '';
      for (;;) {
        if (isData) {
          const end = rest.indexOf('\r\n.\r\n');
          if (end === -1) break;
          const id = /^Message-ID:\s*(<[^>]+>)/im.exec(rest.slice(0, end))?.[1] ?? '';
          received.set(id, (received.get(id) ?? 0) + 1);
          rest = rest.slice(end + 5);
          isData = false;
          isOpen = false;
          answer += '250 2.0.0 ok\r\n';
          continue;
        }
        const end = rest.indexOf('\r\n');
        if (end === -1) break;
        const command = rest.slice(0, 4).toUpperCase();
        rest = rest.slice(end + 2);
        isData = command === 'DATA';
        isOpen ||= command === 'MAIL';
        answer += isData ? '354 go on\r\n' : command === 'QUIT' ? '221 bye\r\n' : '250 ok\r\n';
      }
      if (answer !== '') socket.write(answer);
    });
    socket.write('220 lean\r\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    received,
    interrupted: () => interrupted,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
