"""A stranger: a video server as it is met, behind a gateway, in processes of their own.

It shares no line of code with the package that it tests, and its admin pages tell the truth
that its protocol hides: what was accepted, when, with which fields, for which account.

```text
character   what the server is like, and what the gateway does, as plain data
jobs        what was accepted: accounts, replicas, memory, a log that survives
faces       how a job is shown: what is left out, rounded, rewritten, dated otherwise
clips       a real MP4 for each job, which says whose it is
serving     HTTP on loopback
server      the protocol over it
gateway     what stands in front, and answers for it
__main__    starts one of the two
handling    both from a test's side: start, kill, change, ask for the truth
```
"""
