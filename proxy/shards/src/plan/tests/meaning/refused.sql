SELECT a.id FROM agents a JOIN interactions i ON i.recipient_id = a.id;
SELECT c.name, a.id FROM communities c LEFT JOIN agents a ON c.id = a.community_id;
SELECT * FROM agents a WHERE EXISTS (SELECT 1 FROM interactions i WHERE i.recipient_id = a.id);
SELECT c.id, (SELECT count(*) FROM agents a WHERE a.community_id = c.id) FROM communities c;
SELECT id FROM agents FOR UPDATE;
SELECT a.id, c.id FROM agents a FULL JOIN communities c ON c.id = a.community_id;
SELECT id FROM agents LIMIT 1 + 1;
