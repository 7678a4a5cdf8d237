# The notice to a recipient of held mail. docs/NOTICES.md says how to change it or to add a language.

sender-name = Mail gateway
subject = A message to you is held
subject-many = Messages to you that are held: { $count }
intro = A message to you is held. It has not been delivered to you.
intro-many = These messages to you are held. They have not been delivered to you.
author = From: { $author }
author-unclear = From: unclear
date = Date: { $date }
topic = Subject: { $topic }
topic-none = Subject: none
why-attachments = Reason: its attachment is not the one that was sent.
why-links = Reason: its links are not the ones that were sent.
why-missing = Reason: it has no seal, but the sender’s organisation seals its mail.
why-key = Reason: nothing proves that it comes from the sender’s organisation.
why-seal = Reason: nothing proves that it arrived as it was sent.
reference = Reference: { $reference }
more = Further messages to you that are held: { $count }
forgery = Anybody can forge a sender and a subject.
next = If you expect this message, telephone the sender. Use a number that you know from elsewhere, and ask what was sent.
contact = Whom to ask about it: { $contact }
contact-none = Whom to ask about it: the administrators of your mail.
defused = This notice writes [at] for @ and [.] for a full stop, so that nothing in it can be clicked.
closing = This notice has no link and no attachment, and it asks for no password. A notice that has one is not from us.
