/** The way from a process of ours to the one that started it: the IPC channel of a child process. */

/** Tells the parent, if there is one; resolves once it is written, so that a last word is not lost. */
export const tellParent = <Message extends object>(message: Message): Promise<void> =>
  new Promise((resolve) => {
    if (process.send && process.connected) process.send(message, () => resolve());
    else resolve();
  });
