// A store that keeps the messages of a chat in order, and returns those after a number.
import { Actor, type Of, integer, literal, log, oneOf, shape, text } from 'theater-actor';

const Post = shape({ action: literal('post'), name: text, text });
const Since = shape({ action: literal('since'), seq: integer });
const Message = oneOf(Post, Since);

export interface Line {
  seq: number;
  name: string;
  text: string;
}

export default class Store extends Actor {
  static message = Message;

  messages: Line[] = [];

  init(id: string): void {
    log(`store ${id} initialized`);
  }

  handleRequest(message: Of<typeof Message>): unknown {
    if (message.action === 'since') return { messages: this.messages.filter((it) => it.seq > message.seq) };
    const seq = this.messages.length + 1;
    this.messages.push({ seq, name: message.name, text: message.text });
    return { seq };
  }
}
