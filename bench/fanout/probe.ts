// Loaded into a server before its own code: says how much memory is held, and ends it with whoever started it.

export interface Memory {
  rss: number;
  /** Alive on the heap and in buffers. */
  live: number;
}

const rest = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function memory(): Promise<Memory> {
  // What was just closed is let go of over a few turns, and freed pages go back a little later.
  for (let tries = 0; tries < 3; tries += 1) {
    await rest(100);
    await globalThis.gc?.({ type: 'major', execution: 'async', flavor: 'last-resort' });
  }
  await rest(200);
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, live: heapUsed + external };
}

process.on('message', (message: { ask?: string }) => {
  if (message.ask === 'memory') void memory().then((answer) => process.send?.({ memory: answer }));
});
process.on('disconnect', () => process.exit(0));
process.channel?.unref();
