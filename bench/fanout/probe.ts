// Preloaded into a server: reports its memory and ends it together with its parent process.

export interface Memory {
  rss: number;
  /** Used heap and buffers. */
  live: number;
}

const rest = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function memory(): Promise<Memory> {
  // Closed objects are released after a few turns of the event loop, and freed pages return to the system later.
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
