import { lookup as resolve } from 'node:dns';
import { BlockList, connect, isIP, type LookupFunction, type Socket } from 'node:net';

/** A host that a tenant named and that is not on the public internet. Says nothing of where it leads. */
export class OutboundForbidden extends Error {
  readonly code = 'EFORBIDDEN';

  constructor() {
    super('the host may not be reached');
    this.name = 'OutboundForbidden';
  }
}

/** Decides which addresses may be connected to. */
export interface OutboundGuard {
  /** Looks a name up and leaves out what may not be reached; fails with {@link OutboundForbidden} if nothing is left. */
  lookup: LookupFunction;
  /** An address that needs no look-up would pass by it. @throws {OutboundForbidden} */
  checkLiteral(host: string): void;
  /** Opens a TCP connection to what may be reached. */
  connect(host: string, port: number, timeoutMs: number): Promise<Socket>;
}

/** IPv4 ranges that are not public (IANA's registry of special purpose addresses). */
const SPECIAL_V4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
];
/** Of IPv6 only global unicast is public, and of that not what carries an IPv4 address inside. */
const GLOBAL_V6 = ['2000::/3'];
const SPECIAL_V6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'];

const special = ranges([...SPECIAL_V4, ...SPECIAL_V6]);
const globalV6 = ranges(GLOBAL_V6);

const isPublic = (address: string): boolean =>
  isIP(address) === 4
    ? !special.check(address, 'ipv4')
    : globalV6.check(address, 'ipv6') && !special.check(address, 'ipv6');

/**
 * Keeps what tenants configure out of loopback, link-local, private and metadata networks. The address is checked as it
 * is connected to, so that a name that changes its mind between a check and a connection gains nothing.
 *
 * @param allow hosts, addresses and CIDR ranges that may be reached all the same.
 */
export function createOutboundGuard(allow: readonly string[]): OutboundGuard {
  const hosts = new Set(allow.filter((entry) => !isRange(entry)).map((entry) => entry.toLowerCase()));
  const allowed = ranges(allow.filter(isRange));
  const mayReach = (address: string): boolean =>
    isPublic(address) || allowed.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');

  const lookup: LookupFunction = (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '');
      const reachable = hosts.has(hostname.toLowerCase())
        ? addresses
        : addresses.filter(({ address }) => mayReach(address));
      const [first] = reachable;
      if (!first) return callback(new OutboundForbidden(), '');
      return options.all ? callback(null, reachable) : callback(null, first.address, first.family);
    });
  };
  return withConnect({
    lookup,
    checkLiteral: (host) => {
      if (isIP(host) && !mayReach(host)) throw new OutboundForbidden();
    },
  });
}

/** For hosts that the operator named. */
export const openGuard: OutboundGuard = withConnect({
  lookup: (hostname, options, callback) => resolve(hostname, options, callback as never),
  checkLiteral: () => {},
});

function withConnect(guard: Omit<OutboundGuard, 'connect'>): OutboundGuard {
  return {
    ...guard,
    connect: (host, port, timeoutMs) =>
      new Promise((resolveSocket, reject) => {
        guard.checkLiteral(host);
        const socket = connect({ host, port, lookup: guard.lookup, timeout: timeoutMs });
        socket.once('error', reject);
        socket.once('timeout', () => {
          socket.destroy();
          reject(Object.assign(new Error('connect timed out'), { code: 'ETIMEDOUT' }));
        });
        socket.once('connect', () => {
          socket.setTimeout(0);
          socket.removeAllListeners('timeout').off('error', reject);
          // Whoever takes it over listens for themselves; an error that comes before is theirs to find.
          socket.on('error', () => {});
          resolveSocket(socket);
        });
      }),
  };
}

function isRange(entry: string): boolean {
  const [address = '', bits] = entry.split('/');
  return isIP(address) !== 0 && (bits === undefined || /^\d{1,3}$/.test(bits));
}

function ranges(entries: string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/');
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    list.addSubnet(address, bits === undefined ? (family === 'ipv4' ? 32 : 128) : Number(bits), family);
  }
  return list;
}
