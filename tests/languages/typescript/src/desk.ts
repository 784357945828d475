// A desk: questions, by message or by HTTP, are answered later, when somebody else says what the answer is.
import { Actor, type HttpRequest, type HttpResponse, oneOf, plain, replies, shape, text } from 'theater-actor';

const Message = oneOf('question', shape({ answer: text }), shape({ refuse: text }));

export default class Desk extends Actor {
  static message = Message;

  waiting: number[] = [];
  clients: number[] = [];

  async handleRequest(message: 'question' | { answer: string } | { refuse: string }): Promise<unknown> {
    if (message === 'question') return this.waiting.push(replies.defer());
    for (const token of this.waiting) {
      if ('answer' in message) replies.reply(token, message.answer);
      else replies.refuseLater(token, message.refuse);
    }
    for (const token of this.clients) replies.replyHttp(token, plain(200, 'answer' in message ? message.answer : message.refuse));
    const told = this.waiting.length + this.clients.length;
    [this.waiting, this.clients] = [[], []];
    return told;
  }

  handleHttp(_request: HttpRequest): HttpResponse {
    this.clients.push(replies.defer());
    return plain(500, 'nobody gets this');
  }
}
