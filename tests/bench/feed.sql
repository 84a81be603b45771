-- The newest 20 interactions of an agent's friends. :hot agents are asked for, the popular ones more often.
\set aid random_zipfian(1, :hot, 1.001)
WITH friends AS (
  SELECT recipient_id AS id FROM friendships WHERE initiator_id = :aid AND friendship_status = 'accepted'
  UNION
  SELECT initiator_id FROM friendships WHERE recipient_id = :aid AND friendship_status = 'accepted')
SELECT i.id, i.content, i.interaction_type, i."timestamp", a.id AS agent_id, a.name, a.personality_type
FROM friends f JOIN interactions i ON i.initiator_id = f.id JOIN agents a ON a.id = i.initiator_id
ORDER BY i."timestamp" DESC LIMIT 20;
