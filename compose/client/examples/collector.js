// What a page puts beside its lists: collects what the user does, sends it in batches, loses nothing when the page goes.
//
//   const collector = createCollector({ url: "/api/seen" });
//   collector.seen("click", "green-tea", answer);      // answer: what /api/list returned
//
// Ids are made here, where the thing happens: a batch that is sent twice counts once.

export function createCollector({ url, everyMs = 2000, most = 50, now = globalThis }) {
  let waiting = [];
  let isSending = false;

  function seen(action, itemId, answer = {}, value = null) {
    waiting.push({
      event_id: now.crypto.randomUUID(),
      item_id: itemId,
      action,
      value,
      request_id: answer.request_id || "",
      request_token: answer.request_token || "",
    });
    if (waiting.length >= most) send();
  }

  async function send() {
    if (isSending || waiting.length === 0) return;
    isSending = true;
    const batch = waiting.slice(0, most);
    try {
      const reply = await now.fetch(url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        credentials: "same-origin",
        body: JSON.stringify(batch),
      });
      // 4xx: nobody will ever take this batch. 5xx and no network: keep it and try again.
      if (reply.ok || (reply.status >= 400 && reply.status < 500)) waiting = waiting.slice(batch.length);
    } catch {
      // Offline: the batch stays.
    } finally {
      isSending = false;
    }
  }

  // A page that goes away gets no more time: what waits is handed to the browser itself.
  function leave() {
    while (waiting.length > 0) {
      const batch = new Blob([JSON.stringify(waiting.slice(0, most))], { type: "application/json" });
      if (!now.navigator.sendBeacon(url, batch)) return;
      waiting = waiting.slice(most);
    }
  }

  const timer = now.setInterval(send, everyMs);
  now.addEventListener?.("pagehide", leave);
  return { seen, send, leave, waiting: () => waiting.length, stop: () => now.clearInterval(timer) };
}
