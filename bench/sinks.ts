import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { startLeanSmtp } from '../test/support/lean-smtp.ts';

// Receiver of mails and webhooks, in a separate process. Sends its ports to the parent process.

const smtp = await startLeanSmtp();
const http = createServer((request, response) => {
  request.resume();
  request.on('end', () => response.writeHead(204).end());
});
http.keepAliveTimeout = 60_000;
http.listen(0, '127.0.0.1', () => {
  process.send?.({ smtpPort: smtp.port, httpPort: (http.address() as AddressInfo).port });
});
process.on('disconnect', () => process.exit(0));
