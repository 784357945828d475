// One stream for all tabs of a browser: a shared worker, which keeps the newest state for tabs that come later.
import { Known } from './known.js';
import { follow } from './stream.js';

const tabs = new Set();
const known = new Known();
let key = null;
let offline = null;

function told(event, data) {
  offline = event === 'offline' ? data : null;
  if (event !== 'offline') known.take(event, JSON.parse(data));
  for (const tab of tabs) tab.postMessage({ event, data });
}

self.onconnect = ({ ports: [tab] }) => {
  tab.onmessage = ({ data }) => {
    if (data.bye) {
      tabs.delete(tab);
      return;
    }
    const isFirst = tabs.size === 0 && !self.isFollowing;
    key = data.key ?? key;
    tabs.add(tab);
    if (known.summary) tab.postMessage({ event: 'snapshot', data: JSON.stringify(known.snapshot()) });
    if (offline) tab.postMessage({ event: 'offline', data: offline });
    if (isFirst) {
      self.isFollowing = true;
      follow('/api/live', () => (key ? { authorization: `Bearer ${key}` } : {}), told);
    }
  };
};
