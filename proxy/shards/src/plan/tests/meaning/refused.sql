SELECT a.id FROM agents a JOIN interactions i ON i.recipient_id = a.id;
SELECT c.name, a.id FROM communities c LEFT JOIN agents a ON c.id = a.community_id;
SELECT * FROM agents a WHERE EXISTS (SELECT 1 FROM interactions i WHERE i.recipient_id = a.id);
SELECT c.id, (SELECT count(*) FROM agents a WHERE a.community_id = c.id) FROM communities c;
SELECT id FROM agents FOR UPDATE;
SELECT a.id, c.id FROM agents a FULL JOIN communities c ON c.id = a.community_id;
SELECT id FROM agents LIMIT 1 + 1;
SELECT a.id, x.id FROM agents x LEFT JOIN agents a ON a.id = x.community_id AND a.id IN (1, 2) WHERE EXISTS (SELECT 1 FROM interactions i WHERE i.recipient_id = a.id);
SELECT i.id, f.recipient_id, a.name FROM interactions i JOIN friendships f ON f.initiator_id = i.initiator_id JOIN agents a ON a.id = f.recipient_id WHERE i.initiator_id > 18;
